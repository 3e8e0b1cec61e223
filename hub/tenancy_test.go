package hub

import (
	"context"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// A hub that stops in the middle of a round has learnt nothing about its tenants, and says nothing of them.
func TestAStopSaysNothingOfTenants(t *testing.T) {
	t.Parallel()
	m := newTestMesh(t, region("eu"))
	core, logs := observer.New(zap.WarnLevel)
	m.tune = func(o *Options) { o.Logger = zap.New(core) }
	m.start()
	m.tenant("acme")
	h := m.hubs["eu-0"]
	h.cancel()
	h.loops.Wait()
	logs.TakeAll()
	stopped, stop := context.WithCancel(t.Context())
	stop()
	ten := h.tenancyOf("acme")
	ten.stream = false // so that it is looked at
	h.settle(stopped, ten)
	if ten.problem != "" || len(logs.FilterMessageSnippet("tenant").All()) != 0 {
		t.Errorf("a stopped round leaves the problem %q and says %v", ten.problem, logs.All())
	}
}
