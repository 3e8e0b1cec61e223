package relay

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
)

// door stands before the handler: it knows how many requests are under way and, once the relay stops, sends
// each connection away with its answer.
type door struct {
	next    http.Handler
	closing atomic.Bool
	inside  atomic.Int64
}

// ServeHTTP passes the request on.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.inside.Add(1)
	defer d.inside.Add(-1)
	if d.closing.Load() {
		w.Header().Set("Connection", "close") // over HTTP/2 this becomes GOAWAY
	}
	d.next.ServeHTTP(w, r)
}

const (
	quietCheck = 50 * time.Millisecond
	quietFor   = 40 // checks: longer than net/http gives a connection after GOAWAY
)

// drain lets the requests under way finish. http.Server.Shutdown does most of it, but never ends a HTTP/2
// connection that became ready while it was called (it is idle and was not told to go away); so once there
// has been no request for a while, what is left is closed.
func (r *Relay) drain(ctx context.Context) error {
	r.door.closing.Store(true)
	done := make(chan error, 1)
	r.done.Go(func() { done <- r.server.Shutdown(ctx) })
	tick := time.NewTicker(quietCheck)
	defer tick.Stop()
	for quiet := 0; quiet < quietFor; {
		select {
		case err := <-done:
			if err != nil {
				err = errors.Join(err, r.server.Close())
			}
			return fault.Wrap("relay.stop", fault.Unavailable, err)
		case <-tick.C:
			if quiet++; r.door.inside.Load() > 0 {
				quiet = 0
			}
		}
	}
	return fault.Wrap("relay.stop", fault.Internal, r.server.Close())
}
