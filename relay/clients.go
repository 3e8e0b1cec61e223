package relay

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts/revocation"
)

// Clients decides whether clients' certificates are accepted; revocation.Checker is one.
type Clients interface {
	// VerifyConnection runs at the end of every handshake, of resumed connections too.
	VerifyConnection(s tls.ConnectionState) error
	// Client reads what a handshake has verified, once for each connection.
	Client(s *tls.ConnectionState) (*revocation.Client, error)
	// Check runs at every request and costs nanoseconds; nil lets the request in.
	Check(c *revocation.Client) error
}

// connections are the open ones with their clients. A client that is refused loses an idle connection at the next
// look; on a busy one every request is refused, and after mercy the connection ends too.
type connections struct {
	clients Clients
	log     *zap.Logger
	now     func() time.Time

	mu   sync.Mutex
	open map[net.Conn]*connection
}

// connection is one of them. client is written once, before the first request, by the connection's own goroutine.
type connection struct {
	client  *revocation.Client
	idle    bool
	refused time.Time // since when its certificate is
}

const (
	lookEvery = time.Second
	// mercy lets requests that were admitted before the refusal finish.
	mercy = 3 * time.Second
)

type connectionKey struct{}

// context is http.Server.ConnContext.
func (c *connections) context(ctx context.Context, conn net.Conn) context.Context {
	one := &connection{}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[conn] = one
	return context.WithValue(ctx, connectionKey{}, one)
}

// state is http.Server.ConnState. The handshake is over in every state but new and closed.
func (c *connections) state(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.open[conn]
	switch {
	case one == nil || s == http.StateNew:
	case s == http.StateClosed || s == http.StateHijacked:
		delete(c.open, conn)
	default:
		one.idle = s == http.StateIdle
		if t, ok := conn.(*tls.Conn); ok && one.client == nil {
			state := t.ConnectionState()
			one.client, _ = c.clients.Client(&state) // nil is refused at each request
		}
	}
}

// check is what the intake asks at every request.
func (c *connections) check(r *http.Request) error {
	one, _ := r.Context().Value(connectionKey{}).(*connection)
	if one == nil {
		return c.clients.Check(nil)
	}
	return c.clients.Check(one.client)
}

// look ends connections whose certificates are refused.
func (c *connections) look() {
	now := c.now()
	var end []net.Conn
	c.mu.Lock()
	for conn, one := range c.open {
		if one.client == nil || c.clients.Check(one.client) == nil {
			one.refused = time.Time{}
			continue
		}
		if one.refused.IsZero() {
			one.refused = now
			c.log.Info("a client's certificate is refused from now on", zap.String("serial", one.client.Serial()))
		}
		if one.idle || now.Sub(one.refused) >= mercy {
			end = append(end, conn)
		}
	}
	c.mu.Unlock()
	for _, conn := range end {
		if t, ok := conn.(*tls.Conn); ok {
			conn = t.NetConn() // TLS would say goodbye, and wait for a peer that does not read
		}
		_ = conn.Close()
	}
}
