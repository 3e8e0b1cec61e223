package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/streams/fault"
)

// look is how often it is looked whether the record was removed.
const look = time.Second

// gone knows whether the endpoint answered 410, and keeps it in a file.
type gone struct {
	file     string // "": nowhere
	endpoint string // without path and query
	hash     string // of the endpoint's URL
	log      *zap.Logger
	now      atomic.Pointer[goneRecord] // nil: it did not
}

// goneRecord is the file's content.
type goneRecord struct {
	Endpoint  string    `json:"endpoint"`
	URLSHA256 string    `json:"url_sha256"` // another URL is another endpoint
	At        time.Time `json:"at"`
	EventID   string    `json:"event_id"` // that was answered so

	kept bool // it stands in the file
}

// recall reads what is on record.
func recall(file string, u *url.URL, log *zap.Logger) (*gone, error) {
	sum := sha256.Sum256([]byte(u.String()))
	g := &gone{file: file, endpoint: name(u), hash: hex.EncodeToString(sum[:]), log: log}
	r, err := g.read()
	if err != nil {
		return nil, &fault.Error{Op: opOpen, Kind: fault.Invalid, Code: "state_file", Detail: "cannot read " + file + ": remove it, or mend what is wrong", Err: err}
	}
	if r != nil {
		g.now.Store(r)
		log.Error(g.why())
	}
	return g, nil
}

// read is the record of this endpoint, nil if there is none.
func (g *gone) read() (*goneRecord, error) {
	if g.file == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(g.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := goneRecord{kept: true}
	if err := json.Unmarshal(raw, &r); err != nil {
		return nil, err
	}
	if r.URLSHA256 != g.hash {
		return nil, nil
	}
	return &r, nil
}

// record notes that the endpoint is gone, if that is news.
func (g *gone) record(eventID string) {
	if g.now.Load() != nil {
		return
	}
	r := &goneRecord{Endpoint: g.endpoint, URLSHA256: g.hash, At: time.Now().UTC(), EventID: eventID}
	if g.file != "" {
		raw, err := json.MarshalIndent(r, "", "  ")
		if err == nil {
			err = secretfile.Replace(g.file, append(raw, '\n'))
		}
		if err != nil {
			g.log.Error("that the endpoint is gone is not on record: a restart sends again", zap.Error(err))
		}
		r.kept = err == nil
	}
	g.now.Store(r)
	g.log.Error(g.why(), zap.String("event_id", eventID))
}

// why says since when the endpoint is gone and what to do, "" while it is not.
func (g *gone) why() string {
	r := g.now.Load()
	if r == nil {
		return ""
	}
	next := "start again to send again"
	if r.kept {
		next = "remove " + g.file + " to send again"
	}
	return "the endpoint answered 410 Gone at " + r.At.Format(time.RFC3339) + ", events wait: " + next
}

// wait returns when the endpoint is not gone, or no longer.
func (g *gone) wait(ctx context.Context) error {
	for {
		r := g.now.Load()
		if r == nil {
			return nil
		}
		if r.kept {
			if on, err := g.read(); err == nil && on == nil && g.now.CompareAndSwap(r, nil) {
				g.log.Info("the record that the endpoint is gone was removed, sending again")
				continue
			}
		}
		if err := sleep(ctx, look); err != nil {
			return err
		}
	}
}
