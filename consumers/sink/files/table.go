package files

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
)

// The table's log is that of Delta Lake (PROTOCOL.md, reader version 1, writer version 2): version n of the table is
// what the actions in the objects 0 to n of its log leave. An object is created once and never changed, so whoever
// creates the next one has committed, and everybody else has not.
const (
	logFolder = "_delta_log"
	ownFolder = "_weft"

	probeName = ownFolder + "/probe"      // shows that a name can be taken once
	tableName = ownFolder + "/table.json" // what this package made the table for
	hintName  = ownFolder + "/version"    // a version that exists, so that not all of them are listed
	hintEvery = 100

	readerVersion, writerVersion = 1, 2
)

func versionName(v int64) string { return fmt.Sprintf("%020d.json", v) }

// parseVersion reads a name made by versionName; false for the other objects in the log.
func parseVersion(name string) (v int64, ok bool) {
	if len(name) != 25 || !strings.HasSuffix(name, ".json") {
		return 0, false
	}
	_, err := fmt.Sscanf(name, "%020d.json", &v)
	return v, err == nil && v >= 0 && versionName(v) == name
}

// action is one line of a commit. Those that are not listed are of no interest here.
type action struct {
	CommitInfo *commitInfo `json:"commitInfo,omitempty"`
	Protocol   *protocol   `json:"protocol,omitempty"`
	MetaData   *metaData   `json:"metaData,omitempty"`
	Add        *addFile    `json:"add,omitempty"`
	Remove     *removeFile `json:"remove,omitempty"`
}

type commitInfo struct {
	Timestamp  int64             `json:"timestamp"` // milliseconds
	Operation  string            `json:"operation"`
	Parameters map[string]string `json:"operationParameters"`
	Engine     string            `json:"engineInfo"`
	Attempt    string            `json:"weftAttempt,omitempty"` // which attempt to write this is
	Fence      bool              `json:"weftFence,omitempty"`   // no file that was written before may be added after it
}

type protocol struct {
	Reader int `json:"minReaderVersion"`
	Writer int `json:"minWriterVersion"`
}

type metaData struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	Format     format            `json:"format"`
	Schema     string            `json:"schemaString"`
	Partitions []string          `json:"partitionColumns"`
	Config     map[string]string `json:"configuration"`
	Created    int64             `json:"createdTime"`
}

type format struct {
	Provider string            `json:"provider"`
	Options  map[string]string `json:"options"`
}

type addFile struct {
	Path       string            `json:"path"` // relative to the table, percent-encoded
	Partition  map[string]string `json:"partitionValues"`
	Size       int64             `json:"size"`
	Modified   int64             `json:"modificationTime"`
	DataChange bool              `json:"dataChange"`
	Stats      string            `json:"stats,omitempty"`
}

type removeFile struct {
	Path string `json:"path"`
}

// commit is what is in one object of the log.
type commit struct {
	info    commitInfo
	adds    []addFile
	removes []string
	writer  int // the version of the protocol that it demands, 0 if it does not change it
}

func (c *commit) encode(more ...action) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out) // one value a line
	enc.SetEscapeHTML(false)
	actions := append([]action{{CommitInfo: &c.info}}, more...)
	for i := range c.adds {
		actions = append(actions, action{Add: &c.adds[i]})
	}
	for _, a := range actions {
		if err := enc.Encode(a); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

func decodeCommit(data []byte) (*commit, error) {
	var c commit
	for line := range bytes.Lines(data) {
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var a action
		if err := json.Unmarshal(line, &a); err != nil {
			return nil, err
		}
		switch {
		case a.CommitInfo != nil:
			c.info = *a.CommitInfo
		case a.Add != nil:
			c.adds = append(c.adds, *a.Add)
		case a.Remove != nil:
			c.removes = append(c.removes, a.Remove.Path)
		case a.Protocol != nil:
			c.writer = a.Protocol.Writer
		}
	}
	return &c, nil
}

// object is the name of an added file in the store.
func (a *addFile) object() (string, error) { return url.PathUnescape(a.Path) }

// log reads and extends a table's log. It does not know what is in the files.
type log struct {
	st store
}

// read returns version v; errMissing when there is none yet, or none any more.
func (l *log) read(ctx context.Context, v int64) (*commit, error) {
	data, err := get(ctx, l.st, logFolder+"/"+versionName(v))
	if err != nil {
		return nil, err
	}
	c, err := decodeCommit(data)
	if err != nil {
		return nil, fmt.Errorf("version %d of the table: %w", v, err)
	}
	if c.writer > writerVersion {
		return nil, fault.New("", fault.Conflict, "table_protocol",
			"version %d of the table demands writers of protocol %d, this one is of %d: another tool has upgraded it", v, c.writer, writerVersion)
	}
	return c, nil
}

// append makes c version v; errTaken when somebody else has made it.
func (l *log) append(ctx context.Context, v int64, c *commit, more ...action) error {
	data, err := c.encode(more...)
	if err != nil {
		return err
	}
	if err := l.st.create(ctx, logFolder+"/"+versionName(v), data); err != nil {
		return err
	}
	if v%hintEvery == 0 {
		_ = l.st.put(ctx, hintName, []byte(versionName(v))) // without it opening the table takes longer
	}
	return nil
}

// last is the newest version, -1 in an empty log. A hint that names no version is of a table that was put back to an
// earlier state, and is not believed.
func (l *log) last(ctx context.Context) (int64, error) {
	hint, err := get(ctx, l.st, hintName)
	if err != nil && !errors.Is(err, errMissing) {
		return 0, err
	}
	after := string(hint)
	if v, ok := parseVersion(after); !ok {
		after = ""
	} else if _, err := l.read(ctx, v); errors.Is(err, errMissing) {
		after = ""
	} else if err != nil {
		return 0, err
	}
	names, err := l.st.list(ctx, logFolder, after)
	if err != nil {
		return 0, err
	}
	for _, name := range slices.Backward(append([]string{after}, names...)) {
		if newest, ok := parseVersion(name); ok {
			return newest, nil
		}
	}
	return -1, nil
}

// mark is what this package says of a table that it made.
type mark struct {
	Format  int      `json:"format"` // 1
	ID      string   `json:"id"`
	Created int64    `json:"created"`
	Columns []column `json:"columns"`
}

// found opens the table of a store, or makes it. It returns the newest version.
func (l *log) found(ctx context.Context, id string, now time.Time) (int64, error) {
	m, err := l.mark(ctx)
	if errors.Is(err, errMissing) {
		if m, err = l.make(ctx, id, now); err != nil {
			return 0, err
		}
	} else if err != nil {
		return 0, err
	}
	if want := columns(); m.Format != 1 || !slices.EqualFunc(m.Columns, want, func(a, b column) bool {
		return a.Name == b.Name && a.Type == b.Type && a.Nullable == b.Nullable
	}) {
		return 0, fault.New("", fault.Conflict, "table_columns", "the table was made with other columns: write to a new directory or prefix")
	}
	v, err := l.last(ctx)
	if err != nil || v >= 0 {
		return v, err
	}
	schema, err := json.Marshal(struct {
		Type   string   `json:"type"`
		Fields []column `json:"fields"`
	}{"struct", m.Columns})
	if err != nil {
		return 0, err
	}
	first := &commit{info: commitInfo{Timestamp: m.Created, Operation: "CREATE TABLE", Parameters: map[string]string{}, Engine: engine}}
	err = l.append(ctx, 0, first, action{Protocol: &protocol{Reader: readerVersion, Writer: writerVersion}},
		action{MetaData: &metaData{ID: m.ID, Name: "events", Format: format{Provider: "parquet", Options: map[string]string{}}, Schema: string(schema),
			Partitions: []string{"dt", "hour"}, Config: map[string]string{}, Created: m.Created}})
	if errors.Is(err, errTaken) {
		return l.last(ctx)
	}
	return 0, err
}

func (l *log) mark(ctx context.Context) (*mark, error) {
	data, err := get(ctx, l.st, tableName)
	if err != nil {
		return nil, err
	}
	var m mark
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", tableName, err)
	}
	return &m, nil
}

// make claims an empty store for a table.
func (l *log) make(ctx context.Context, id string, now time.Time) (*mark, error) {
	if v, err := l.last(ctx); err != nil {
		return nil, err
	} else if v >= 0 {
		return nil, fault.New("", fault.Conflict, "table_foreign", "there is a table that weft did not make: choose another directory or prefix")
	}
	m := &mark{Format: 1, ID: id, Created: now.UnixMilli(), Columns: columns()}
	data, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	if err := l.st.create(ctx, tableName, data); err != nil && !errors.Is(err, errTaken) {
		return nil, err
	}
	return l.mark(ctx) // who was first may be another
}
