package files

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/nats-io/nats.go"
	"github.com/parquet-go/parquet-go"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

func TestMain(m *testing.M) {
	if child() {
		return
	}
	goleak.VerifyTestMain(m)
}

var (
	eu   = subject.Origin{Region: "eu", Epoch: 1}
	noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
)

// message is event n: one a second from noon on, by 7 users.
func message(n int) *consumers.Message { return messageAt(n, noon.Add(time.Duration(n)*time.Second)) }

func messageAt(n int, at time.Time) *consumers.Message {
	id := fmt.Sprintf("e-%d", n)
	m := &consumers.Message{
		Subject: subject.Event{Origin: eu, Scope: subject.Global, Partition: n % 64, Topic: "bets", Type: "bet.placed"},
		Header:  client.Header{}, EventID: id, Origin: eu, OriginSeq: uint64(n) + 1, Sequence: uint64(n) + 1, IngestedAt: at.Add(time.Second), StoredAt: at.Add(2 * time.Second),
	}
	m.Header.Set(header.MsgID, id)
	m.Header.Set(header.Relay, "relay-1")
	m.Header.Set(header.Source, "brand")
	m.Raw = []byte(fmt.Sprintf(`{"event_id":%q,"event_type":"bet.placed","schema_version":"1.2.0","occurred_at":%q,"key":{"user_id":"u-%d"},"source_seq":%d,"ctx":{"geo":"DE"},"payload":{"amount":%d}}`,
		id, at.Format(time.RFC3339Nano), n%7, n, n))
	return m
}

// messages are the events from first to last.
func messages(first, last int) []*consumers.Message {
	var ms []*consumers.Message
	for n := first; n <= last; n++ {
		ms = append(ms, message(n))
	}
	return ms
}

func openIn(t *testing.T, o Options, st store) *Sink {
	t.Helper()
	s, err := open(t.Context(), o.withDefaults(), st)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func localDir(t *testing.T) *dir {
	t.Helper()
	d, err := openDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (s *Sink) mustWrite(t *testing.T, ms []*consumers.Message) {
	t.Helper()
	if err := s.HandleBatch(t.Context(), ms); err != nil {
		t.Fatal(err)
	}
}

// table is what a reader sees who knows nothing but the log: files in the order in which they were added.
type seenFile struct {
	add  addFile
	rows []row
}

// readTable reads a table by its log alone, with no code of the sink.
func readTable(t *testing.T, st store) []seenFile {
	t.Helper()
	var files []seenFile
	for v := 0; ; v++ {
		data, err := get(t.Context(), st, fmt.Sprintf("_delta_log/%020d.json", v))
		if errors.Is(err, errMissing) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(bytes.NewReader(data))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var a struct {
				Add *addFile `json:"add"`
			}
			if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
				t.Fatalf("version %d: %v", v, err)
			}
			if a.Add == nil {
				continue
			}
			name, err := url.PathUnescape(a.Add.Path)
			if err != nil {
				t.Fatal(err)
			}
			content, err := get(t.Context(), st, name)
			if err != nil {
				t.Fatalf("version %d names %s: %v", v, name, err)
			}
			rows, err := parquet.Read[row](bytes.NewReader(content), int64(len(content)))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if int64(len(content)) != a.Add.Size {
				t.Errorf("%s has %d bytes, the log says %d", name, len(content), a.Add.Size)
			}
			files = append(files, seenFile{*a.Add, rows})
		}
	}
}

// wantOnce checks that the table has the events from 0 to last, each once, and that the store has nothing else.
func wantOnce(t *testing.T, st store, last int) {
	t.Helper()
	count := map[string]int{}
	named := map[string]bool{}
	for _, f := range readTable(t, st) {
		named[f.add.Path] = true
		for _, r := range f.rows {
			count[r.EventID]++
		}
	}
	for n := range last + 1 {
		if id := fmt.Sprintf("e-%d", n); count[id] != 1 {
			t.Errorf("%s is in the table %d times", id, count[id])
		}
	}
	if len(count) != last+1 {
		t.Errorf("%d events in the table, not %d", len(count), last+1)
	}
	for _, name := range everything(t, st) {
		switch {
		case strings.HasPrefix(name, "dt=") && !named[name]:
			t.Errorf("%s is left over", name)
		case strings.HasPrefix(name, noticeFolder+"/"), strings.HasSuffix(name, partial):
			t.Errorf("%s is left over", name)
		}
	}
}

// mem is a store in memory in which operations fail as told.
type mem struct {
	mu      sync.Mutex
	objects map[string][]byte

	// fail is asked before each operation that changes something; after says that it was carried out all the same.
	fail func(op, name string) (err error, after bool) //nolint:staticcheck // reads as it is used
	// before is called outside the lock before each change.
	before func(op, name string)
}

func newMem() *mem { return &mem{objects: map[string][]byte{}} }

func (s *mem) change(ctx context.Context, op, name string, do func() error) error {
	if s.before != nil {
		s.before(op, name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.fail != nil {
		if err, after := s.fail(op, name); err != nil {
			if after {
				_ = do()
			}
			return err
		}
	}
	return do()
}

func (s *mem) put(ctx context.Context, name string, data []byte) error {
	return s.change(ctx, "put", name, func() error {
		s.objects[name] = bytes.Clone(data)
		return nil
	})
}

func (s *mem) create(ctx context.Context, name string, data []byte) error {
	return s.change(ctx, "create", name, func() error {
		if _, ok := s.objects[name]; ok {
			return errTaken
		}
		s.objects[name] = bytes.Clone(data)
		return nil
	})
}

func (s *mem) remove(ctx context.Context, name string) error {
	return s.change(ctx, "remove", name, func() error {
		delete(s.objects, name)
		return nil
	})
}

func (s *mem) open(_ context.Context, name string) (*object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.objects[name]
	if !ok {
		return nil, errMissing
	}
	return &object{ReaderAt: bytes.NewReader(data), size: int64(len(data)), close: func() error { return nil }}, nil
}

func (s *mem) list(_ context.Context, folder, after string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.objects {
		if rest, ok := strings.CutPrefix(name, folder+"/"); ok && !strings.Contains(rest, "/") && rest > after {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	return names, nil
}
