package hub

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/weft-mesh/weft/streams/fault"
)

// evidence is what a server knows by itself of whether it can have lost data since it last served. It lets a
// region open while another cannot be asked; a peer that contradicts it is always right.
type evidence string

const (
	noEvidence evidence = ""                                   // the power may have failed, the disk may be another one
	firstStart evidence = "nothing has ever been stored here"  // the files of the region were made for it
	cleanStop  evidence = "the last stop was an orderly one"   // everything was written out
	sameBoot   evidence = "the operating system has run since" // what a killed process wrote is in its page cache
	everySync  evidence = "every write was synced before it was acknowledged"
)

// life is what a server leaves in its store about its last time of service.
type life struct {
	Boot   string `json:"boot"`   // of the operating system, "" where it is not known
	Clean  bool   `json:"clean"`  // the broker was stopped in order
	Synced bool   `json:"synced"` // every write was synced
	Lost   bool   `json:"lost"`   // a peer said that data are missing here, and the region has not opened since
}

func lifeFile(store string) string { return filepath.Join(store, "life.json") }

// weigh says what the last life and the present boot prove. It is pure.
func weigh(last *life, first bool, boot string) evidence {
	switch {
	case last == nil && first:
		return firstStart
	case last == nil:
		return noEvidence
	case last.Lost:
		return noEvidence
	case last.Clean:
		return cleanStop
	case boot != "" && last.Boot == boot:
		return sameBoot
	case last.Synced:
		return everySync
	default:
		return noEvidence
	}
}

// evidence reads what the last life left. A file that cannot be read proves nothing.
func (h *Hub) evidence() evidence {
	var last *life
	raw, err := os.ReadFile(lifeFile(h.opts.StoreDir))
	if err == nil {
		last = new(life)
		if json.Unmarshal(raw, last) != nil {
			last = &life{}
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		last = &life{}
	}
	return weigh(last, h.opts.Identity.FirstStart(h.opts.Server), h.opts.BootID)
}

// noteLife records that the server serves, or that it has stopped in order.
func (h *Hub) noteLife(clean bool) error {
	return h.writeLife(life{Boot: h.opts.BootID, Clean: clean, Synced: h.opts.SyncAlways})
}

// noteLost takes back what the last life proves: an older copy may bear the mark of an orderly stop, and must not
// open by it when the peer that knows better is away.
func (h *Hub) noteLost() error {
	h.lost.Store(true)
	return h.writeLife(life{Boot: h.opts.BootID, Lost: true})
}

func (h *Hub) writeLife(l life) error {
	raw, err := json.Marshal(l)
	if err != nil {
		return err
	}
	return writeDurably(lifeFile(h.opts.StoreDir), append(raw, '\n'))
}

// bootID names one run of the operating system; "" where the system tells none.
func bootID() string {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// writeDurably replaces a small file so that a power cut leaves the old one or the new one, never a part.
func writeDurably(path string, content []byte) error {
	const op = "hub.store"
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return fault.Wrap(op, fault.Unavailable, err)
	}
	_, err = tmp.Write(content)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fault.Wrap(op, fault.Unavailable, err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fault.Wrap(op, fault.Unavailable, err)
	}
	return fault.Wrap(op, fault.Unavailable, errors.Join(dir.Sync(), dir.Close()))
}
