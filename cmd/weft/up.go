package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/cmd/weft/internal/app"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/cmd/weft/internal/telemetry"
)

func newUpCommand() *cobra.Command {
	var o app.MeshOptions
	tenants := []string{"acme", "globex"}
	disk := config.ByteSize(4 << 30)
	var demo bool
	var logLevel string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run a whole mesh on this machine",
		Long: `up runs a mesh of several regions in this one process: brokers, TLS links, relays, certificates and
tenants. Everything lives below --data; the same directory continues where it stopped.

Every port follows from --port-base: a region's relay is at base+443, NATS at base+422, the admin API at
base+480, metrics at base+490, and each further region 100 higher.`,
		Example: `  weft up
  weft up --regions eu,us,ap --data ./mesh3 --port-base 20000
  weft up --demo`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := telemetry.NewLogger(logLevel, "auto", cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if o.Tenants, err = tenantOptions(tenants, disk); err != nil {
				return err
			}
			o.Logger, o.Say = log, cmd.OutOrStdout()
			if demo {
				o.Routes = demoRoutes
			}
			return runUp(cmd.Context(), o, demo)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Data, "data", defaultData(), "directory for everything that the mesh keeps (env WEFT_DATA)")
	f.IntVar(&o.PortBase, "port-base", 18000, "every port follows from this one")
	f.StringSliceVar(&o.Regions, "regions", []string{"eu", "us"}, "regions; the first is the control home")
	f.StringSliceVar(&tenants, "tenants", tenants, "tenants to make, where they do not exist; name=8GiB sets the disk of one")
	f.IntVar(&o.Servers, "servers", 1, "servers in each region: 1, or 3 for replicated streams")
	f.StringVar(&o.Sync, "sync", "interval", "interval: fsync within a second of the ack; always: before it")
	f.Var(&disk, "tenant-disk", "disk that a new tenant may use in each region")
	f.BoolVar(&demo, "demo", false, "send the traffic of a gaming brand to both regions as tenant acme")
	f.StringVar(&logLevel, "log-level", "warn", "debug, info, warn or error; logs go to standard error")
	return cmd
}

// tenantOptions reads --tenants.
func tenantOptions(tenants []string, disk config.ByteSize) ([]app.TenantOptions, error) {
	out := make([]app.TenantOptions, 0, len(tenants))
	for _, t := range tenants {
		name, size, own := strings.Cut(t, "=")
		o := app.TenantOptions{Name: name, Disk: int64(disk)}
		if own {
			n, err := config.ParseByteSize(size)
			if err != nil {
				return nil, usageErrorf("--tenants %s: %s", t, err)
			}
			o.Disk = int64(n)
		}
		out = append(out, o)
	}
	return out, nil
}

func runUp(ctx context.Context, o app.MeshOptions, demo bool) error {
	defer app.TuneRuntime()()
	began := time.Now()
	mesh, err := app.StartMesh(ctx, o)
	if err != nil {
		return err
	}
	printReady(o.Say, o, time.Since(began))
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-mesh.Failed():
			cancel(err)
		case <-run.Done():
		}
	}()
	if demo {
		err = mesh.Demo(run)
	} else {
		<-run.Done()
	}
	if failed := context.Cause(run); failed != nil && !errors.Is(failed, context.Canceled) {
		err = errorWithHint(failed, "start it again with the same --data")
	}
	fmt.Fprintln(o.Say, "stopping: relays drain, then the regions close")
	stop, done := context.WithTimeout(context.Background(), 20*time.Second)
	defer done()
	if stopErr := mesh.Stop(stop); stopErr != nil {
		return stopErr
	}
	fmt.Fprintf(o.Say, "stopped; everything is in %s\n", o.Data)
	return err
}

// printReady tells what to paste into a second terminal.
func printReady(w io.Writer, o app.MeshOptions, took time.Duration) {
	first, last := o.Regions[0], o.Regions[len(o.Regions)-1]
	names := make([]string, len(o.Tenants))
	for i, t := range o.Tenants {
		names[i] = t.Name
	}
	tenant := "TENANT"
	if len(names) > 0 {
		tenant = names[0]
	}
	data := ""
	if o.Data != defaultData() {
		data = " --data " + o.Data
	}
	fmt.Fprintf(w, `
The mesh is ready after %.1f s: regions %s, tenants %s.
This is one machine: acknowledgements are "%s". Stop with Ctrl-C; the data stay in %s.

In a second terminal, watch what arrives in %s:

    go run ./cmd/weft tail --tenant %s --region %s%s

and in a third, send a first event into %s:

    echo '{"event_id":"hello-1","event_type":"hello.world","schema_version":"1.0.0","occurred_at":"2026-01-01T00:00:00Z","key":{"user_id":"u1"},"payload":{"text":"hello"}}' |
      go run ./cmd/weft send - --now --tenant %s --region %s%s

`, took.Seconds(), strings.Join(o.Regions, ", "), strings.Join(names, ", "), ackMode(o), o.Data, last, tenant, last, data, first, tenant, first, data)
}

func ackMode(o app.MeshOptions) string {
	if o.Sync == "always" {
		return accounts.AckStoredFsync
	}
	return accounts.AckStored
}

// demoRoutes are the topics of the demo brand: money and KYC go to the user's home region, the rest is
// taken where it arrives.
func demoRoutes(tenant string) *accounts.Routes {
	if tenant != "acme" {
		return nil
	}
	const day = accounts.Duration(24 * time.Hour)
	topic := func(name string, class accounts.Class, home accounts.Home, keep accounts.Duration) accounts.Topic {
		return accounts.Topic{Name: name, Class: class, Scope: accounts.ScopeGlobal, Retention: keep, Home: home}
	}
	return &accounts.Routes{
		Tenant: tenant,
		Topics: []accounts.Topic{
			topic("payments", accounts.Critical, accounts.Forward, 30*day),
			topic("kyc", accounts.Critical, accounts.Forward, 30*day),
			topic("bets", accounts.Standard, accounts.Local, 7*day),
			topic("sessions", accounts.Optional, accounts.Local, 7*day),
			topic("events", accounts.Standard, accounts.Local, 7*day),
		},
		Rules: []accounts.Rule{
			{Type: "deposit.>", Topic: "payments"}, {Type: "withdrawal.>", Topic: "payments"}, {Type: "kyc.>", Topic: "kyc"},
			{Type: "bet.>", Topic: "bets"}, {Type: "session.>", Topic: "sessions"},
		},
		Default: "events",
	}
}
