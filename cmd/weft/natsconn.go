package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/cmd/weft/internal/telemetry"
)

// natsFlags say which tenant's account a command reads, and how to get there.
type natsFlags struct {
	mesh           meshFlags
	url, creds, ca string
}

// register adds the flags; whose says whose credentials the command needs, beginning with a space, or is empty.
func (n *natsFlags) register(cmd *cobra.Command, whose string) {
	n.mesh.register(cmd)
	f := cmd.Flags()
	f.StringVar(&n.url, "url", "", "NATS address, tls://host:port; mesh.json is not read then")
	f.StringVar(&n.creds, "creds", "", "NATS credentials file"+whose+" (default: the mesh's)")
	f.StringVar(&n.ca, "ca", "", "certificate authority (default: the mesh's; with --url the system's)")
}

// connect completes the addresses from mesh.json and opens the connection, with the log that it reports to.
func (n *natsFlags) connect(cmd *cobra.Command) (*nats.Conn, *zap.Logger, error) {
	if n.url == "" {
		p, err := n.mesh.find()
		if err != nil {
			return nil, nil, err
		}
		n.url = p.region.NATS
		orElse(&n.creds, p.tenant.ConsumerCreds)
		orElse(&n.ca, p.ca)
	}
	log, err := telemetry.NewLogger("warn", "console", cmd.ErrOrStderr())
	if err != nil {
		return nil, nil, err
	}
	nc, err := connectNATS(n.url, n.creds, n.ca, log)
	return nc, log, err
}

// connectNATS opens a connection that comes back by itself for ever: the credentials file is read again at
// each attempt, so they may expire and be renewed. Creds and ca may be empty.
func connectNATS(url, creds, ca string, log *zap.Logger) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name("weft-tail"), nats.Timeout(5 * time.Second),
		nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond), nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(2),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("connection error", zap.Error(err)) }),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil: closed by ourselves
				log.Warn("disconnected, trying to come back", zap.Error(err))
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Warn("connected again") }),
	}
	if creds != "" {
		opts = append(opts, nats.UserCredentials(creds))
	}
	if ca != "" {
		tlsConfig, err := pki.ClientTLS("", "", ca)
		if err != nil {
			return nil, err
		}
		opts = append(opts, nats.Secure(tlsConfig))
	}
	nc, err := nats.Connect(url, opts...)
	if err == nil {
		return nc, nil
	}
	return nil, errorWithHint(fmt.Errorf("cannot connect to %s: %s", url, strings.TrimPrefix(err.Error(), "nats: ")), connectHint(err))
}

func connectHint(err error) string {
	switch {
	case errors.Is(err, nats.ErrAuthorization), errors.Is(err, nats.ErrAuthExpired), errors.Is(err, nats.ErrAuthRevoked):
		return "the server refuses the credentials, check --creds"
	case errors.Is(err, nats.ErrNoServers), errors.Is(err, nats.ErrTimeout):
		return "is that region up?"
	case strings.Contains(err.Error(), "tls: "):
		return "check --ca"
	default:
		return "check --creds and the address"
	}
}
