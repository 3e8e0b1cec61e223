package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/pki"
)

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
