package broker

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

const (
	linkTimeout = 10 * time.Second       // for a reload, its retries included
	linkRetry   = 200 * time.Millisecond // between attempts
)

// SetLinks makes links exactly those that this server solicits. Links that stay are not touched, nor are
// clients; the same set again is no reload at all. Each call that changes something costs time in
// proportion to the number of accounts (0.6 s at a thousand), so callers gather changes. Before Start, and
// while stopped, it only notes what Start is to bring up.
//
// Nil means that the server has taken the links over, not that they are up: see Leaves. After an error
// the links are as they were.
func (b *Broker) SetLinks(links []Link) error {
	const op = "broker.links"
	for _, l := range links {
		if err := checkLink(l); err != nil {
			return err
		}
	}
	want := sortedLinks(links)
	ctx, cancel := context.WithTimeout(context.Background(), linkTimeout)
	defer cancel()
	if err := b.acquire(ctx, op); err != nil {
		return err
	}
	defer b.release()
	if slices.EqualFunc(want, b.links, equalLink) {
		return nil
	}
	if r := b.run.Load(); r != nil {
		if err := b.reload(ctx, r, want); err != nil {
			return err
		}
	}
	b.links = want
	return nil
}

// reload hands the server fresh options with the wanted links, again and again while it says that a link
// removed a moment ago is still being dialled.
func (b *Broker) reload(ctx context.Context, r *running, want []Link) error {
	const op = "broker.links"
	b.quitMu.Lock()
	quit := b.quit
	b.quitMu.Unlock()
	began := time.Now()
	for {
		options, err := build(b.opts, want, r.resolver)
		if err != nil {
			return err
		}
		err = r.server.ReloadOptions(options)
		if err == nil {
			b.log.Info("links set", zap.Int("links", len(want)), zap.Duration("took", time.Since(began)))
			return nil
		}
		if !strings.Contains(err.Error(), "at the moment") {
			return &fault.Error{Op: op, Kind: fault.Internal, Code: "reload_refused", Detail: "the server refuses the new links", Err: err}
		}
		t := time.NewTimer(linkRetry)
		select {
		case <-t.C:
		case <-quit:
			t.Stop()
			return errStopped(op)
		case <-ctx.Done():
			t.Stop()
			return &fault.Error{Op: op, Kind: fault.Unavailable, Code: "reload_busy", Detail: "a removed link is still being dialled: try again", Err: err}
		}
	}
}

// sortedLinks is a private copy in an order of its own, without repetitions.
func sortedLinks(links []Link) []Link {
	out := make([]Link, 0, len(links))
	for _, l := range links {
		l.URLs = slices.Clone(l.URLs)
		out = append(out, l)
	}
	slices.SortFunc(out, func(x, y Link) int {
		return cmp.Or(strings.Compare(x.Account, y.Account), strings.Compare(x.Credentials, y.Credentials), slices.Compare(x.URLs, y.URLs))
	})
	return slices.CompactFunc(out, equalLink)
}

func equalLink(x, y Link) bool {
	return x.Account == y.Account && x.Credentials == y.Credentials && slices.Equal(x.URLs, y.URLs)
}
