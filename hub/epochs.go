package hub

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/streams/fault"
)

// epochs are the peers' epochs as they announced them to this server. A region that is closed itself may not
// write them to the control state yet, and must not forget them.
type epochs struct {
	path string

	mu   sync.Mutex
	live map[string]int // region -> epoch
}

func loadEpochs(store string) (*epochs, error) {
	e := &epochs{path: filepath.Join(store, "peers.json"), live: map[string]int{}}
	raw, err := os.ReadFile(e.path)
	if errors.Is(err, fs.ErrNotExist) {
		return e, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &e.live)
	}
	return e, fault.Wrap("hub.epochs", fault.Unavailable, err)
}

func (e *epochs) of(region string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.live[region]
}

// note keeps an epoch; an older one changes nothing.
func (e *epochs) note(region string, epoch int) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.live[region] >= epoch {
		return nil
	}
	next := maps.Clone(e.live)
	next[region] = epoch
	raw, err := json.Marshal(next)
	if err != nil {
		return err
	}
	if err := writeDurably(e.path, append(raw, '\n')); err != nil {
		return err
	}
	e.live = next
	return nil
}

func (e *epochs) all() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.live)
}

// announceNoted writes epochs of peers to the control state that it does not know.
func (h *Hub) announceNoted(ctx context.Context) error {
	for region, epoch := range h.noted.all() {
		info := accounts.RegionInfo{Name: region}
		if have, ok := h.state.State().Regions[region]; ok {
			info = *have
		}
		if info.Epoch >= epoch {
			continue
		}
		info.Epoch = epoch
		if err := h.state.Put(ctx, control.KindRegion, region, info, "hub "+h.serverName()); err != nil {
			return err
		}
	}
	return nil
}
