package broker

import (
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// Leaves are the links that are up, in both directions.
func (b *Broker) Leaves() []Leaf {
	r := b.run.Load()
	if r == nil {
		return nil
	}
	lz, err := r.server.Leafz(nil)
	if err != nil {
		return nil
	}
	out := make([]Leaf, 0, len(lz.Leafs))
	for _, l := range lz.Leafs {
		out = append(out, Leaf{ID: l.ID, Account: l.Account, Peer: l.Name, Solicited: l.IsSpoke})
	}
	return out
}

// LeadsStream says whether this server leads the stream, which is where its sources run. On the only server of
// a region that is any stream that exists.
func (b *Broker) LeadsStream(account, stream string) bool {
	r := b.run.Load()
	if r == nil {
		return false
	}
	if b.opts.Cluster != nil {
		return r.server.JetStreamIsStreamLeader(account, stream)
	}
	info, err := r.server.Jsz(&server.JSzOptions{Account: account, Streams: true})
	if err != nil {
		return false
	}
	for _, a := range info.AccountDetails {
		for _, s := range a.Streams {
			if a.Id == account && s.Name == stream {
				return true
			}
		}
	}
	return false
}

// Quorum says whether streams can be made and changed: always on a single server, and in a cluster when a
// majority of the servers has agreed on who keeps the metadata.
func (b *Broker) Quorum() bool {
	r := b.run.Load()
	if r == nil {
		return false
	}
	if b.opts.Cluster == nil {
		return r.server.JetStreamEnabled()
	}
	info, err := r.server.Jsz(nil)
	return err == nil && info.Meta != nil && info.Meta.Leader != ""
}

// Durability reads from the running server, and from what syncs beside it, what is promised for stored messages. The
// zero value means that nothing is promised: the server is stopped.
func (b *Broker) Durability() Durability {
	r := b.run.Load()
	if r == nil {
		return Durability{}
	}
	c := r.server.JetStreamConfig()
	if c == nil {
		return Durability{}
	}
	every := c.SyncInterval
	if own := time.Duration(r.disk.every.Load()); own > 0 && r.disk.messages {
		every = min(every, own)
	}
	d := Durability{SyncInterval: every, SyncAlways: c.SyncAlways, MaxStore: c.MaxStore, Servers: 1}
	if b.opts.Cluster != nil {
		if info, err := r.server.Jsz(nil); err == nil && info.Meta != nil {
			d.Servers = max(1, info.Meta.Size)
		}
	}
	return d
}

// MaxStore is the disk that JetStream may use, in bytes; 0 while stopped.
func (b *Broker) MaxStore() int64 { return b.Durability().MaxStore }
