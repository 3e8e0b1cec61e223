package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/cmd/rig/internal/load"
	"github.com/weft-mesh/weft/consumers"
)

// ledgerAckWait is short, so that what a killed ledger had fetched comes again within a trial.
const ledgerAckWait = 2 * time.Second

func newLedgerCommand() *cobra.Command {
	var urls, ca, creds, file string
	cmd := &cobra.Command{
		Use:    "ledger",
		Short:  "The consumer of a trial: every event's effect once, into a file",
		Hidden: true, // trials start it
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pem, err := os.ReadFile(ca)
			if err != nil {
				return err
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(pem)
			o := consumers.DefaultOptions()
			o.URLs, o.CredsFile, o.TLS = strings.Split(urls, ","), creds, &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
			o.Durable, o.AckWait = "ledger", ledgerAckWait
			return keepLedger(cmd.Context(), o, file)
		},
	}
	f := cmd.Flags()
	f.StringVar(&urls, "nats", "", "servers of the region")
	f.StringVar(&ca, "ca", "", "the mesh's authority")
	f.StringVar(&creds, "creds", "", "credentials of the tenant's owner")
	f.StringVar(&file, "file", "", "the ledger")
	return cmd
}

// keepLedger subscribes again and again: a region may be away, or come back without the durable.
func keepLedger(ctx context.Context, o consumers.Options, file string) error {
	l, err := load.OpenLedger(file)
	if err != nil {
		return err
	}
	defer l.Close()
	for ctx.Err() == nil {
		sub, err := consumers.Subscribe(ctx, o)
		if err == nil {
			err = sub.Run(ctx, func(_ context.Context, m *consumers.Message) error { return l.Do(m.EventID) })
		}
		if ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "subscribing again:", err)
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
		}
	}
	return nil
}
