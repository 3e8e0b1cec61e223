package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/cmd/weft/internal/meshfile"
	"github.com/weft-mesh/weft/relay/client"
	"github.com/weft-mesh/weft/streams/event"
)

const sendLong = `send reads events as JSON, one on each line, signs them and sends them in batches to a relay. What is not stored at
once is sent again under the same event_id until --timeout, so a retry never makes a second event; for the same
reason the whole file may be sent again. Events of one key.user_id are sent in the order of their lines.

Nothing in a line is changed, except that --now replaces the value of occurred_at.
Refused events are listed with their line; the exit code is 0 only if every event is stored.`

const sendExample = `  weft send events.ndjson --tenant acme --region eu
  weft send old-events.ndjson --now --concurrency 8
  generator | weft send - --rate 100
  weft send events.ndjson --url https://eu.example.com --kid acme-1 --secret-file acme-1.key \
      --cert client.pem --key client-key.pem --ca ca.pem`

// sendOptions are the flags of send.
type sendOptions struct {
	mesh                            meshFlags
	url, kid, secret, cert, certKey string
	scheme                          string
	ca, token                       string
	now                             bool
	batch, concurrency              int
	maxBody                         config.ByteSize
	rate                            float64
	timeout                         time.Duration
	format                          *choice
}

func newSendCommand() *cobra.Command {
	defaults := client.DefaultOptions()
	o := &sendOptions{maxBody: config.ByteSize(defaults.BatchBytes)}
	cmd := &cobra.Command{
		Use:     "send FILE|-",
		Short:   "Sign events and send them into a region",
		Long:    sendLong,
		Example: sendExample,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageErrorf("name one FILE with one JSON event on each line, or - for standard input")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runSend(cmd, o, args[0]) },
	}
	o.mesh.register(cmd)
	o.format = outputFlag(cmd, formatTable, formatJSON, formatYAML)
	f := cmd.Flags()
	f.BoolVar(&o.now, "now", false, "set occurred_at to the time at which each line is read")
	f.IntVar(&o.batch, "batch", defaults.BatchEvents, "most events in one request")
	f.Var(&o.maxBody, "batch-bytes", "most bytes in one request")
	f.IntVar(&o.concurrency, "concurrency", 4, "requests under way at once; events of one key stay in order")
	f.Float64Var(&o.rate, "rate", 0, "events per second at most")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "how long to retry a batch that is not stored")
	f.StringVar(&o.url, "url", "", "relay, https://host:port; mesh.json is not read then")
	f.StringVar(&o.kid, "kid", "", "id of the signing key")
	f.StringVar(&o.scheme, "scheme", defaults.Scheme, "signature scheme: weft-v1, standard-webhooks, standard-webhooks-v1a or body; the key must list it")
	f.StringVar(&o.secret, "secret-file", "", "file with the signing key's secret, in base64; for standard-webhooks-v1a the Ed25519 private key or its seed")
	f.StringVar(&o.cert, "cert", "", "client certificate")
	f.StringVar(&o.certKey, "key", "", "private key of the client certificate")
	f.StringVar(&o.ca, "ca", "", "certificate authority of the mesh")
	f.StringVar(&o.token, "token-file", "", "file with an access token to send along, read again for each request")
	return cmd
}

func (o *sendOptions) validate() error {
	switch err := keyring.CheckAlgorithms([]string{o.scheme}); {
	case err != nil:
		return usageErrorf("--scheme %s is none of weft-v1, standard-webhooks, standard-webhooks-v1a, body", o.scheme)
	case o.batch < 1 || o.batch > event.DefaultLimits().MaxEvents:
		return usageErrorf("--batch %d is not between 1 and %d", o.batch, event.DefaultLimits().MaxEvents)
	case o.concurrency < 1 || o.concurrency > 64:
		return usageErrorf("--concurrency %d is not between 1 and 64", o.concurrency)
	case o.maxBody < 1:
		return usageErrorf("--batch-bytes %s is not a size", o.maxBody)
	case o.rate < 0:
		return usageErrorf("--rate cannot be negative")
	case o.timeout <= 0:
		return usageErrorf("--timeout must be positive")
	}
	return nil
}

// target completes relay and credentials from mesh.json.
func (o *sendOptions) target() error {
	if o.url != "" {
		return requireAll([]given{
			{"kid", &o.kid}, {"secret-file", &o.secret}, {"cert", &o.cert}, {"key", &o.certKey}, {"ca", &o.ca}})
	}
	p, err := o.mesh.find()
	if err != nil {
		return err
	}
	o.url = p.region.Relay
	orElse(&o.kid, p.tenant.Kid)
	orElse(&o.secret, p.tenant.SecretFile)
	orElse(&o.cert, p.tenant.ClientCert)
	orElse(&o.certKey, p.tenant.ClientKey)
	orElse(&o.ca, p.ca)
	return nil
}

func (o *sendOptions) client(warn func(client.Warning)) (*client.Client, error) {
	secret, err := meshfile.ReadSecret(o.secret)
	if err != nil {
		return nil, err
	}
	c := client.DefaultOptions()
	c.URL, c.Kid, c.Secret, c.Scheme = o.url, o.kid, secret, o.scheme
	c.BatchEvents, c.BatchBytes, c.Concurrency = o.batch, int(o.maxBody), o.concurrency
	c.Deadline, c.MaxRetries = o.timeout, 1<<30 // the time alone counts
	c.Timeout, c.OnWarning = min(c.Timeout, o.timeout), warn
	if o.token != "" {
		if _, err := readToken(o.token); err != nil {
			return nil, err
		}
		c.Token = func(context.Context) (string, error) { return readToken(o.token) }
	}
	if c.TLS, err = pki.ClientTLS(o.cert, o.certKey, o.ca); err != nil {
		return nil, err
	}
	return client.New(c)
}

func runSend(cmd *cobra.Command, o *sendOptions, path string) error {
	if err := o.validate(); err != nil {
		return err
	}
	if err := o.target(); err != nil {
		return err
	}
	input, err := openInput(cmd, path)
	if err != nil {
		return err
	}
	defer func() { _ = input.Close() }()
	report := newSendReport(cmd.ErrOrStderr(), time.Now)
	c, err := o.client(report.warn)
	if err != nil {
		return err
	}
	defer c.Close()
	s := newSender(c, o, report)
	err = s.run(cmd.Context(), input)
	if printErr := s.report.finish(cmd.OutOrStdout(), o.format.value); printErr != nil {
		return printErr
	}
	return err
}

func openInput(cmd *cobra.Command, path string) (io.ReadCloser, error) {
	if path == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, errorWithHint(fmt.Errorf("cannot read %s: %w", path, pathCause(err)), "name a file with one JSON event on each line, or - for standard input")
	}
	if info, err := f.Stat(); err == nil && info.IsDir() {
		_ = f.Close()
		return nil, errorWithHint(fmt.Errorf("%s is a directory", path), "name a file with one JSON event on each line")
	}
	return f, nil
}
