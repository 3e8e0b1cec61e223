package files

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
)

// everything lists what a store holds.
func everything(t *testing.T, st store) (names []string) {
	t.Helper()
	switch st := st.(type) {
	case *slow:
		return everything(t, st.mem)
	case *mem:
		return slices.Sorted(maps.Keys(st.objects))
	case *dir:
		err := filepath.WalkDir(st.root, func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				p, err = filepath.Rel(st.root, p)
				names = append(names, filepath.ToSlash(p))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	case *bucket:
		for o := range st.client.ListObjectsIter(t.Context(), st.name, listAll) {
			names = append(names, strings.TrimPrefix(o.Key, st.prefix))
		}
	}
	return names
}

func TestARowHasWhatTheEventHas(t *testing.T) {
	st := newMem()
	s := openIn(t, Options{Raw: true}, st)
	m := messageAt(0, time.Date(2026, 3, 4, 23, 59, 59, 999_999_999, time.UTC))
	m.Raw = []byte(`{"payload": {"a":[1, 2.50],"ü":"\n"} ,"event_id":"e-0","event_type":"bet.placed","schema_version":"1.2.0","occurred_at":"2026-03-04T23:59:59.999999999Z",
		"key":{"user_id":"u-\u00fc"},"source_seq":18446744073709551615,"source_epoch":3,"other":{"key":1},"sig":"x"}`)
	m.Header.Set(header.Kid, "acme-1")
	m.Header.Set(header.TraceParent, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	s.mustWrite(t, []*consumers.Message{m, message(1)})
	files := readTable(t, st)
	if len(files) != 2 {
		t.Fatalf("%d files", len(files))
	}
	if !strings.HasPrefix(files[1].add.Path, "dt=2026-03-04/hour=23/") || files[1].add.Partition["dt"] != "2026-03-04" || files[1].add.Partition["hour"] != "23" {
		t.Errorf("the file is %+v", files[1].add)
	}
	if !strings.Contains(files[1].add.Stats, `"maxValues":{"occurred_at":"2026-03-05T00:00:00.000Z"}`) {
		t.Errorf("stats %s", files[1].add.Stats)
	}
	r := files[1].rows[0]
	number := func(d *decimal) uint64 { return binary.BigEndian.Uint64(d[1:]) }
	if number(r.SourceSeq) != 1<<64-1 || r.SourceSeq[0] != 0 || number(r.SourceEpoch) != 3 {
		t.Errorf("seq %v, epoch %v", r.SourceSeq, r.SourceEpoch)
	}
	r.SourceSeq, r.SourceEpoch = nil, nil
	want := row{
		EventID: "e-0", EventType: "bet.placed", SchemaVersion: "1.2.0", Topic: "bets", UserID: "u-ü", Source: "brand", Origin: "eu_1", OriginSeq: 1, Relay: "relay-1", Kid: "acme-1",
		OccurredAt: time.Date(2026, 3, 4, 23, 59, 59, 999_999_000, time.UTC).UnixMicro(), IngestedAt: m.IngestedAt.UnixMicro(), StoredAt: m.StoredAt.UnixMicro(),
		TraceParent: m.Header.Get(header.TraceParent), Key: `{"user_id":"u-\u00fc"}`, Payload: `{"a":[1, 2.50],"ü":"\n"}`, Raw: string(m.Raw),
	}
	if r != want {
		t.Errorf("got  %+v\nwant %+v", r, want)
	}
	if other := files[0].rows[0]; other.Ctx != `{"geo":"DE"}` || other.Kid != "" || other.UserID != "u-1" {
		t.Errorf("the other row is %+v", other)
	}
}

// What the log says of the columns is what the files have, in kind and name.
func TestTheLogDescribesTheFiles(t *testing.T) {
	kinds := map[string]string{"BYTE_ARRAY STRING": "string", "INT64 TIMESTAMP(isAdjustedToUTC=true,unit=MICROS)": "timestamp", "INT64 ": "long", "INT64 INT(64,true)": "long",
		"FIXED_LEN_BYTE_ARRAY(9) DECIMAL(20,0)": numeric}
	fields := parquet.SchemaOf(row{}).Fields()
	said := columns()
	if len(said) != len(fields)+2 {
		t.Fatalf("%d columns, %d fields", len(said), len(fields))
	}
	for i, f := range fields {
		logical := ""
		if l := f.Type().LogicalType(); l != nil {
			logical = l.String()
		}
		kind := f.Type().Kind().String()
		if f.Type().Kind() == parquet.FixedLenByteArray {
			kind += fmt.Sprintf("(%d)", f.Type().Length())
		}
		if got := kinds[kind+" "+logical]; got != said[i].Type || f.Name() != said[i].Name || f.Optional() != said[i].Nullable {
			t.Errorf("%s is %q optional %v, the log says %+v", f.Name(), kind+" "+logical, f.Optional(), said[i])
		}
	}
}

func TestHours(t *testing.T) {
	st := newMem()
	s := openIn(t, Options{}, st)
	s.mustWrite(t, []*consumers.Message{messageAt(0, noon), messageAt(1, noon.Add(-time.Nanosecond)), messageAt(2, noon.Add(time.Hour))})
	s.mustWrite(t, []*consumers.Message{messageAt(3, noon.Add(59*time.Minute))}) // late: into a file of its own hour
	got := map[string][]string{}
	for _, f := range readTable(t, st) {
		folder, _, _ := strings.Cut(f.add.Path, "/part-")
		for _, r := range f.rows {
			got[folder] = append(got[folder], r.EventID)
		}
	}
	want := map[string][]string{"dt=2026-03-04/hour=11": {"e-1"}, "dt=2026-03-04/hour=12": {"e-0", "e-3"}, "dt=2026-03-04/hour=13": {"e-2"}}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("got %v", got)
	}
	wantOnce(t, st, 3)
}

func TestAFullFileIsFollowedByAnother(t *testing.T) {
	st := newMem()
	s := openIn(t, Options{FileBytes: minFileBytes}, st)
	s.mustWrite(t, messages(0, 999))
	files := readTable(t, st)
	if len(files) < 3 {
		t.Fatalf("%d files of %d bytes of events", len(files), 1000*len(message(500).Raw))
	}
	for _, f := range files[:len(files)-1] {
		size := 0
		for range f.rows {
			size += len(message(500).Raw)
		}
		if size > minFileBytes+8<<10 || size < minFileBytes-8<<10 {
			t.Errorf("a file of %d bytes of events", size)
		}
	}
	wantOnce(t, st, 999)
}

func TestWhatComesAgain(t *testing.T) {
	st := newMem()
	registry := prometheus.NewRegistry()
	s := openIn(t, Options{Registerer: registry}, st)
	s.mustWrite(t, messages(0, 9))
	moved := func(n int) *consumers.Message { // stored in another region, by a retry there
		m := message(n)
		m.Origin.Region, m.OriginSeq = "us", m.OriginSeq+100
		return m
	}
	other := moved(4)
	other.Raw = bytes.Replace(other.Raw, []byte(`"amount":4`), []byte(`"amount":5`), 1)
	later := moved(5) // another time is no other content
	later.Raw = bytes.Replace(later.Raw, []byte("12:00:05"), []byte("13:00:05"), 1)

	check := func(s *Sink) {
		t.Helper()
		err := s.HandleBatch(t.Context(), []*consumers.Message{message(2), moved(3), other, later, message(10), moved(10)})
		errs, ok := errors.AsType[consumers.BatchErrors](err)
		if !ok || len(errs) != 6 {
			t.Fatalf("got %v", err)
		}
		for i, err := range errs {
			if i != 2 && err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		if err := errs[2]; fault.CodeOf(err) != "event_id_conflict" && retry.Classify(err) != retry.Hopeless {
			t.Errorf("the other content is answered %v", err)
		}
	}
	check(s)
	wantOnce(t, st, 10)
	check(openIn(t, Options{}, st)) // the next process knows all of it
	wantOnce(t, st, 10)
	if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP weft_sink_events_total Events, by what became of them for good: delivered, duplicate, conflict, refused, dropped.
# TYPE weft_sink_events_total counter
weft_sink_events_total{outcome="conflict",sink="files"} 1
weft_sink_events_total{outcome="delivered",sink="files"} 11
weft_sink_events_total{outcome="dropped",sink="files"} 0
weft_sink_events_total{outcome="duplicate",sink="files"} 4
weft_sink_events_total{outcome="refused",sink="files"} 0
`), "weft_sink_events_total"); err != nil {
		t.Error(err)
	}
}

func TestOneThatIsNoEventIsRefusedAlone(t *testing.T) {
	st := newMem()
	s := openIn(t, Options{}, st)
	bad := message(1)
	bad.Raw = []byte(`{"event_id":"e-1"}`)
	errs, ok := errors.AsType[consumers.BatchErrors](s.HandleBatch(t.Context(), []*consumers.Message{message(0), bad}))
	if !ok || errs[0] != nil || retry.Classify(errs[1]) != retry.Hopeless {
		t.Errorf("got %v", errs)
	}
	wantOnce(t, st, 0)
}

// A crash between any two steps, and an answer that is lost at any of them, leaves each event once when it came again,
// to the same process or to the next one, and nothing else.
func TestEveryStepFails(t *testing.T) {
	t.Parallel()
	lost := errors.New("the answer was lost")
	for _, how := range []struct {
		name         string
		after, again bool
	}{{"before, next process", false, false}, {"after, next process", true, false}, {"before, same process", false, true}, {"after, same process", true, true}} {
		t.Run(how.name, func(t *testing.T) {
			t.Parallel()
			for k := 1; ; k++ {
				st := newMem()
				openIn(t, Options{}, st).mustWrite(t, messages(0, 9))
				s := openIn(t, Options{}, st)
				step := 0
				st.fail = func(op, name string) (error, bool) { //nolint:staticcheck // as the field has it
					if step++; step >= k && (step == k || !how.again) {
						return fmt.Errorf("%s %s: %w", op, name, lost), how.after && step == k
					}
					return nil, false
				}
				batch := append(messages(8, 19), messageAt(20, noon.Add(-time.Hour)))
				err := s.HandleBatch(t.Context(), batch)
				if err != nil && (fault.KindOf(err) != fault.Unavailable || retry.Classify(err) != retry.Outage) {
					t.Fatalf("step %d: %v", k, err)
				}
				reached := step >= k
				st.fail = nil
				if !how.again {
					s = openIn(t, Options{}, st)
				}
				if err != nil || !how.again {
					s.mustWrite(t, batch)
				}
				s.mustWrite(t, messages(21, 22)) // what was put off is done
				wantOnce(t, st, 22)
				if t.Failed() {
					t.Fatalf("step %d of a commit", k)
				}
				if !reached {
					if k < 6 {
						t.Fatalf("a commit has only %d steps: the test sees nothing", k-1)
					}
					return
				}
			}
		})
	}
}

// The same holds for a start that is interrupted, behind a commit that was.
func TestEveryStepOfAStartFails(t *testing.T) {
	for k := 1; ; k++ {
		st := newMem()
		openIn(t, Options{}, st).mustWrite(t, messages(0, 9))
		st.fail = func(op, name string) (error, bool) { //nolint:staticcheck // as the field has it
			if op == "create" && strings.HasPrefix(name, logFolder) {
				return errors.New("killed"), false
			}
			return nil, false
		}
		if err := openIn(t, Options{}, st).HandleBatch(t.Context(), messages(10, 12)); err == nil {
			t.Fatal("no failure")
		}
		step := 0
		st.fail = func(string, string) (error, bool) { //nolint:staticcheck // as the field has it
			step++
			if step >= k {
				return errors.New("killed"), step == k && k%2 == 0
			}
			return nil, false
		}
		_, err := open(t.Context(), Options{}.withDefaults(), st)
		st.fail = nil
		s := openIn(t, Options{}, st)
		s.mustWrite(t, messages(8, 12))
		wantOnce(t, st, 12)
		if t.Failed() {
			t.Fatalf("step %d of a start", k)
		}
		if err == nil {
			if k < 5 {
				t.Fatalf("a start has only %d steps: the test sees nothing", k-1)
			}
			return
		}
	}
}

// A writer that is stopped before its commit, declared dead, swept away and woken has written nothing that is not there:
// neither when what it holds has come to another one, nor when it has not.
func TestAWriterThatWakesUp(t *testing.T) {
	for name, others := range map[string][]*consumers.Message{"with the same events": messages(20, 34), "with other events": messages(30, 34)} {
		t.Run(name, func(t *testing.T) { wakeUp(t, others) })
	}
}

func wakeUp(t *testing.T, others []*consumers.Message) {
	st := newMem()
	a := openIn(t, Options{}, st)
	a.mustWrite(t, messages(0, 9))
	stopped, wake := make(chan struct{}), make(chan struct{})
	var once sync.Once
	st.before = func(op, name string) {
		if op == "create" && strings.HasPrefix(name, logFolder) {
			first := false
			once.Do(func() { first = true })
			if first {
				close(stopped)
				<-wake
			}
		}
	}
	done := make(chan error, 1)
	go func() { done <- a.HandleBatch(t.Context(), messages(10, 29)) }()
	<-stopped
	b := openIn(t, Options{}, st) // fences, and removes a's files
	for _, name := range everything(t, st) {
		if strings.HasPrefix(name, "dt=") && strings.Contains(name, a.session+"-1-") {
			t.Errorf("%s was not removed", name)
		}
	}
	b.mustWrite(t, others)
	close(wake)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wantOnce(t, st, 34)
	if n := testutil.ToFloat64(a.metrics.races); n < 1 {
		t.Errorf("%v races", n)
	}
}

// slow is a store on which one commit is under way for long.
type slow struct {
	*mem
	underWay func()
}

func (s *slow) create(ctx context.Context, name string, data []byte) error {
	if s.underWay == nil && strings.HasPrefix(name, logFolder) && versionName(2) == filepath.Base(name) {
		s.underWay = func() { _ = s.mem.create(context.WithoutCancel(ctx), name, data) }
		return errors.New("no answer")
	}
	return s.mem.create(ctx, name, data)
}

// A commit that nobody answered may still arrive: its files stay until that is out of the question.
func TestACommitThatArrivesLate(t *testing.T) {
	st := &slow{mem: newMem()}
	s := openIn(t, Options{}, st)
	s.mustWrite(t, messages(0, 9))
	if err := s.HandleBatch(t.Context(), messages(10, 19)); fault.KindOf(err) != fault.Unavailable {
		t.Fatal(err)
	}
	s.mustWrite(t, messages(0, 5)) // nothing new: nothing is committed
	st.underWay()
	s.mustWrite(t, messages(10, 29))
	wantOnce(t, st, 29)
}

// Two processes with the same events, and with different ones, at the same time.
func TestTwoWriters(t *testing.T) {
	for name, st := range map[string]store{"memory": newMem(), "directory": localDir(t)} {
		t.Run(name, func(t *testing.T) {
			var writers sync.WaitGroup
			for w := range 2 {
				s := openIn(t, Options{}, st)
				writers.Go(func() {
					for n := range 6 {
						first := 20*n + 10*w // overlapping with the others'
						if err := s.HandleBatch(t.Context(), messages(first, first+19)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			writers.Wait()
			openIn(t, Options{}, st).mustWrite(t, messages(120, 140))
			wantOnce(t, st, 140)
		})
	}
}

// The last events are known, also when the table was left alone for long and when many commits came after them.
func TestRemembered(t *testing.T) {
	st := newMem()
	now := noon
	o := Options{Batch: 10, Remember: 40, Horizon: time.Hour, Now: func() time.Time { return now }}
	s := openIn(t, o, st)
	for n := range 10 {
		s.mustWrite(t, messages(10*n, 10*n+9))
	}
	now = now.Add(300 * 24 * time.Hour)
	s = openIn(t, o, st)
	if s.seen.Len() < 40 || s.seen.Len() > 80 {
		t.Errorf("%d are remembered", s.seen.Len())
	}
	s.mustWrite(t, messages(60, 99))
	wantOnce(t, st, 99)

	// A fence after the pause does not make the time before it old.
	st.fail = func(op, name string) (error, bool) { //nolint:staticcheck // as the field has it
		if op == "create" && strings.HasPrefix(name, logFolder) {
			return errors.New("killed"), false
		}
		return nil, false
	}
	_ = s.HandleBatch(t.Context(), messages(100, 109))
	st.fail = nil
	openIn(t, o, st)
	openIn(t, o, st).mustWrite(t, messages(90, 109))
	wantOnce(t, st, 109)
}

// Reading the table at its start is bounded by the time of its life that Horizon says.
func TestHorizon(t *testing.T) {
	st := newMem()
	now := noon
	o := Options{Horizon: time.Hour, Now: func() time.Time { return now }}
	s := openIn(t, o, st)
	for n := range 6 {
		s.mustWrite(t, messages(10*n, 10*n+9))
		now = now.Add(25 * time.Minute)
	}
	if s := openIn(t, o, st); s.seen.Len() != 30 { // 50, 25 and 0 minutes before the last
		t.Errorf("%d are remembered", s.seen.Len())
	}
}

func TestTablesOfOthers(t *testing.T) {
	for name, c := range map[string]struct {
		objects map[string]string
		code    string
	}{
		"made by another tool": {map[string]string{"_delta_log/00000000000000000000.json": `{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}`}, "table_foreign"},
		"upgraded by another tool": {map[string]string{tableName: `{"format":1}`, "_delta_log/00000000000000000000.json": `{"protocol":{"minReaderVersion":3,"minWriterVersion":7}}`},
			"table_columns"},
		"of a later release": {map[string]string{tableName: `{"format":2}`}, "table_columns"},
	} {
		st := newMem()
		for name, data := range c.objects {
			st.objects[name] = []byte(data)
		}
		if _, err := open(t.Context(), Options{}.withDefaults(), st); fault.CodeOf(err) != c.code || fault.KindOf(err) != fault.Conflict {
			t.Errorf("%s: %v", name, err)
		}
	}
	st := newMem()
	s := openIn(t, Options{}, st)
	s.mustWrite(t, messages(0, 3))
	st.objects[logFolder+"/"+versionName(2)] = []byte(`{"commitInfo":{"timestamp":1,"operation":"UPGRADE"}}` + "\n" + `{"protocol":{"minReaderVersion":3,"minWriterVersion":7}}`)
	if err := s.HandleBatch(t.Context(), messages(4, 5)); fault.CodeOf(err) != "table_protocol" || fault.KindOf(err) != fault.Unavailable {
		t.Errorf("an upgrade while it runs: %v", err)
	}
	if _, err := open(t.Context(), Options{}.withDefaults(), st); fault.CodeOf(err) != "table_protocol" {
		t.Errorf("an upgrade before it starts: %v", err)
	}
}

// Another tool may put files together and remove those that it replaced.
func TestFilesOfOthers(t *testing.T) {
	st := newMem()
	s := openIn(t, Options{}, st)
	s.mustWrite(t, messages(0, 4))
	old := readTable(t, st)[0].add.Path
	st.objects[logFolder+"/"+versionName(2)] = []byte(`{"remove":{"path":"` + old + `","dataChange":false}}` + "\n" +
		`{"add":{"path":"dt=2026-03-04/hour=12/c%3D0.parquet","partitionValues":{"dt":"2026-03-04","hour":"12"},"size":1,"modificationTime":1,"dataChange":false}}`)
	st.objects["dt=2026-03-04/hour=12/c=0.parquet"] = []byte("not read")
	s.mustWrite(t, messages(3, 6))
	if s.version != 3 {
		t.Errorf("version %d", s.version)
	}
	delete(st.objects, old) // vacuumed: what was in it is still known to this process
	moved := message(1)
	moved.OriginSeq = 99
	s.mustWrite(t, []*consumers.Message{moved, message(2), message(7)})
	if s := openIn(t, Options{}, st); s.seen.Len() != 3 {
		t.Errorf("%d are remembered of a table without the first file", s.seen.Len())
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"nowhere": {}, "both": {Dir: "x", S3: S3{Bucket: "b"}}, "scheme": {S3: S3{Bucket: "b", Endpoint: "https://x"}}, "prefix": {S3: S3{Bucket: "b", Prefix: "/x"}},
		"half a key": {S3: S3{Bucket: "b", AccessKey: "x"}}, "most": {Dir: "x", Batch: 10_001}, "file": {Dir: "x", FileBytes: 1}, "linger": {Dir: "x", Linger: 2 * time.Hour}, "remember": {Dir: "x", Remember: 1}, "horizon": {Dir: "x", Horizon: 1},
	} {
		if _, err := Open(t.Context(), o); fault.KindOf(err) != fault.Invalid || fault.CodeOf(err) != "invalid_options" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestADirectoryThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{file, filepath.Join(file, "below")} {
		if s, err := Open(t.Context(), Options{Dir: d}); err == nil {
			t.Errorf("%s: opened %v", d, s)
		}
	}
	d := filepath.Join(t.TempDir(), "new", "table")
	s, err := Open(t.Context(), Options{Dir: d})
	if err != nil {
		t.Fatal(err)
	}
	s.mustWrite(t, messages(0, 1))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.HandleBatch(ctx, messages(2, 3)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("after the end: %v", err)
	}
	s.mustWrite(t, messages(2, 3))
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
	st, err := openDir(d)
	if err != nil {
		t.Fatal(err)
	}
	wantOnce(t, st, 3)
}
