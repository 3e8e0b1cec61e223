package bench

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/subject"
)

// tally is what is wrong with what the regions hold.
type tally struct {
	read, lost, duplicated, reordered int
}

// verifyPatience is how long a region may show no new event while acknowledged ones are missing.
const verifyPatience = 20 * time.Second

// connect opens a connection as the tenant's consumer.
func (m *mesh) connect(region, tenant string) (*nats.Conn, jetstream.JetStream, error) {
	r, err := m.file.Region(region)
	if err != nil {
		return nil, nil, err
	}
	t, err := m.file.Tenant(tenant)
	if err != nil {
		return nil, nil, err
	}
	tlsConfig, err := pki.ClientTLS("", "", m.file.Path(m.file.CA))
	if err != nil {
		return nil, nil, err
	}
	nc, err := nats.Connect(r.NATS, nats.UserCredentials(t.ConsumerCreds), nats.Secure(tlsConfig), nats.Name("weft-bench"), nats.Timeout(5*time.Second))
	if err != nil {
		return nil, nil, fault.Wrap("bench.connect", fault.Unavailable, err)
	}
	js, err := jetstream.New(nc)
	return nc, js, err
}

// verify reads every region once and compares it with what the senders were told.
func (m *mesh) verify(ctx context.Context, tenant, tag string, senders []*sender) (tally, error) {
	tallies, errs := make([]tally, len(m.file.Regions)), make([]error, len(m.file.Regions))
	var wg sync.WaitGroup
	for i, r := range m.file.Regions {
		wg.Go(func() {
			nc, js, err := m.connect(r.Name, tenant)
			if err != nil {
				errs[i] = err
				return
			}
			defer nc.Close()
			c := newCopy(tag, senders)
			if errs[i] = c.read(ctx, js); errs[i] == nil {
				tallies[i] = c.tally()
			}
		})
	}
	wg.Wait()
	var sum tally
	for i, t := range tallies {
		if errs[i] != nil {
			return sum, errs[i]
		}
		sum.read += t.read
		sum.lost += t.lost
		sum.duplicated += t.duplicated
		sum.reordered += t.reordered
	}
	return sum, nil
}

// copied is what one region holds of this benchmark's events.
type copied struct {
	tag     string
	from    map[int]*seen // by the sender's number
	missing int           // acknowledged and not seen yet
	found   tally
}

// seen is what one sender was told, and what was seen of it.
type seen struct {
	acked bitset
	all   bitset
	last  []uint64 // the newest number of each key, plus one
}

func newCopy(tag string, senders []*sender) *copied {
	c := &copied{tag: tag, from: make(map[int]*seen, len(senders))}
	for _, s := range senders {
		c.from[s.sender] = &seen{acked: s.acked, last: make([]uint64, s.keys)}
		c.missing += s.settled
	}
	return c
}

// read takes the stream from its beginning, ids only, until nothing acknowledged is missing and its end is reached.
func (c *copied) read(ctx context.Context, js jetstream.JetStream) error {
	if s, err := js.Stream(ctx, subject.EventsStream); err == nil && c.missing == 0 && s.CachedInfo().State.Msgs == 0 {
		return nil // a tenant whose turn never came
	}
	cons, err := js.OrderedConsumer(ctx, subject.EventsStream, jetstream.OrderedConsumerConfig{HeadersOnly: true})
	if err != nil {
		return fault.Wrap("bench.verify", fault.Unavailable, err)
	}
	it, err := cons.Messages(jetstream.PullMaxMessages(10_000))
	if err != nil {
		return fault.Wrap("bench.verify", fault.Unavailable, err)
	}
	defer it.Stop()
	for {
		msg, err := it.Next(jetstream.NextMaxWait(verifyPatience))
		if err != nil {
			return nil // nothing more comes: what is missing is lost
		}
		c.take(msg.Headers().Get(header.MsgID))
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if meta.NumPending == 0 && c.missing == 0 {
			return nil
		}
	}
}

func (c *copied) take(id string) {
	number, n, ok := parseID(id, c.tag)
	from := c.from[number]
	if !ok || from == nil {
		return // of somebody else
	}
	c.found.read++
	if from.all.has(n) {
		c.found.duplicated++
		return
	}
	from.all.add(n)
	if from.acked.has(n) {
		c.missing--
	}
	last := &from.last[n%uint64(len(from.last))]
	if n < *last {
		c.found.reordered++
	}
	*last = max(*last, n+1)
}

func (c *copied) tally() tally {
	t := c.found
	t.lost = c.missing
	return t
}
