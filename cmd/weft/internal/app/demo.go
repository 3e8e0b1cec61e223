package app

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams/traffic"
)

const (
	demoTenant = "acme"
	demoEvery  = 200 * time.Millisecond
	demoBatch  = 10 // events per region and tick: 100/s in a mesh of two regions
)

// Demo sends the traffic of a gaming brand to every region until ctx ends. Each start makes a new story, so
// a mesh that continues gets new events.
func (m *Mesh) Demo(ctx context.Context) error {
	t, _ := bundleFiles(m.opts.Data, demoTenant)
	encoded, err := os.ReadFile(filepath.Join(m.opts.Data, t.SecretFile))
	if err != nil {
		return err
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(encoded)))
	if err != nil {
		return err
	}
	tlsc, err := pki.ClientTLS(filepath.Join(m.opts.Data, t.ClientCert), filepath.Join(m.opts.Data, t.ClientKey), filepath.Join(m.opts.Data, "pki", "ca.pem"))
	if err != nil {
		return err
	}
	m.say("demo: %d events/s as tenant %s", int(time.Second/demoEvery)*demoBatch*len(m.regions), demoTenant)
	var wg sync.WaitGroup
	for i, r := range m.regions {
		o := client.DefaultOptions()
		o.URL, o.TLS, o.Kid, o.Secret = "https://"+m.opts.addr(i, portRelay), tlsc.Clone(), t.Kid, keyring.Secret(secret)
		c, err := client.New(o)
		if err != nil {
			return err
		}
		seed := uint64(m.began.UnixNano())
		gen := traffic.New(traffic.Options{Seed: seed, Users: 5000, Prefix: fmt.Sprintf("%s-%x-", r.name, seed)})
		wg.Go(func() {
			defer c.Close()
			m.demoRegion(ctx, c, gen, r.name)
		})
	}
	wg.Wait()
	return nil
}

func (m *Mesh) demoRegion(ctx context.Context, c *client.Client, gen *traffic.Generator, region string) {
	tick := time.NewTicker(demoEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		batch := make([][]byte, demoBatch)
		for i := range batch {
			batch[i] = gen.Next(time.Now())
		}
		if _, err := c.Send(ctx, batch); err != nil && ctx.Err() == nil {
			m.opts.Logger.Warn("demo events not stored", zap.String("region", region), zap.Error(err))
		}
	}
}
