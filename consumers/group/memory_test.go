package group_test

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/consumers/group"
	"github.com/weft-mesh/weft/consumers/group/grouptest"
)

type memoryHarness struct {
	registry *group.Memory
	now      time.Time
}

func (h *memoryHarness) Registry() group.Registry { return h.registry }
func (h *memoryHarness) Pass(d time.Duration)     { h.now = h.now.Add(d) }

func TestMemory(t *testing.T) {
	grouptest.Run(t, func(*testing.T) grouptest.Harness {
		h := &memoryHarness{now: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)}
		h.registry = group.NewMemory(func() time.Time { return h.now })
		return h
	})
}
