package control

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/subject"
)

// Options configure a Log.
type Options struct {
	JS     jetstream.JetStream // of the CONTROL account in the own region
	Self   subject.Origin      // whose region this is; records are written under it
	Logger *zap.Logger
	Now    func() time.Time // nil: time.Now
}

// Log follows the control stream and, for hubs, writes to it.
//
// # Concurrency
//
// State, Changed, HeartbeatAge and Put may be called from any goroutine. One goroutine, owned by the
// Log and ended by Close, reads the stream and owns the working copy of the state.
type Log struct {
	opts   Options
	self   atomic.Pointer[subject.Origin]
	ticker ticker
	cancel context.CancelFunc
	done   chan struct{}
	made   time.Time // when the stream that is read was made; of the reading goroutine alone

	state     atomic.Pointer[State]
	heartbeat atomic.Int64 // unix nanoseconds of the own region's last heartbeat

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced at each published snapshot
	moved    chan struct{} // closed and replaced whenever folded moves
	folded   uint64        // last stream sequence that the published state contains
	recorded uint64        // the same without heartbeats
}

// publishEvery bounds how long a burst of records may hide behind one snapshot.
const publishEvery = 50 * time.Millisecond

// Open follows the control stream from its beginning and returns once everything that the stream held
// at the call has been folded. ctx bounds that wait only.
func Open(ctx context.Context, o Options) (*Log, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = zap.NewNop()
	}
	l := &Log{opts: o, ticker: ticker{now: o.Now}, done: make(chan struct{}),
		changed: make(chan struct{}), moved: make(chan struct{})}
	l.self.Store(&o.Self)
	l.state.Store(NewState())
	end, err := l.lastSequence(ctx)
	if err != nil {
		return nil, fault.Wrap("control.open", fault.Unavailable, err)
	}
	run, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go l.follow(run)
	if err := l.waitFolded(ctx, end); err != nil {
		l.Close()
		return nil, fault.Wrap("control.open", fault.Unavailable, err)
	}
	return l, nil
}

// State is the newest snapshot; never nil, never changed after it is returned.
func (l *Log) State() *State { return l.state.Load() }

// Changed is closed at the next snapshot. Take it before State, or a change may be missed.
func (l *Log) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// HeartbeatAge is the time since the own region's hub last wrote a heartbeat.
func (l *Log) HeartbeatAge() time.Duration {
	return l.opts.Now().Sub(time.Unix(0, l.heartbeat.Load()))
}

// Recorded is the sequence in the control stream of the last record that State contains; heartbeats do not count.
// Two readers of one stream compare by it what they know.
func (l *Log) Recorded() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.recorded
}

// Heartbeat is when the own region's hub wrote its last heartbeat, by the hub's clock; the beginning of 1970 before the
// first.
func (l *Log) Heartbeat() time.Time { return time.Unix(0, l.heartbeat.Load()) }

// Rebase lets what is written from now on bear another origin of the same region.
func (l *Log) Rebase(self subject.Origin) { l.self.Store(&self) }

// Close ends the reader and waits for it.
func (l *Log) Close() {
	l.cancel()
	<-l.done
}

// Beat writes a heartbeat.
func (l *Log) Beat(ctx context.Context) error {
	_, err := l.opts.JS.Publish(ctx, subject.ControlHeartbeat(*l.self.Load()), nil)
	return fault.Wrap("control.heartbeat", fault.Unavailable, err)
}

// Put writes one record and returns when it is stored in the own region and folded here. A record that
// lost against another one is a Conflict: it is in the log, and changed nothing.
func (l *Log) Put(ctx context.Context, kind Kind, id string, body any, by string) error {
	return l.put(ctx, Record{Kind: kind, ID: id, Clock: l.ticker.tick(), By: by}, body)
}

// Restate writes a value again under the present origin, with the clock that it has: whoever knows a newer one
// keeps that.
func (l *Log) Restate(ctx context.Context, w Written, by string) error {
	return l.put(ctx, Record{Kind: w.Kind, ID: w.ID, Clock: w.Clock, By: by}, w.Value)
}

func (l *Log) put(ctx context.Context, r Record, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return fault.Wrap("control.put", fault.Internal, err)
	}
	self := *l.self.Load()
	kind, id := r.Kind, r.ID
	r.Origin, r.Body = self.String(), raw
	data, err := json.Marshal(r)
	if err != nil {
		return fault.Wrap("control.put", fault.Internal, err)
	}
	to := subject.Control{Origin: self, Kind: string(kind), ID: id}.String()
	msg := &nats.Msg{Subject: to, Data: data, Header: nats.Header{}}
	msg.Header.Set(nats.MsgIdHdr, to+"/"+hash(data))
	ack, err := l.opts.JS.PublishMsg(ctx, msg)
	if err != nil {
		return fault.Wrap("control.put", fault.Unavailable, err)
	}
	if err := l.waitFolded(ctx, ack.Sequence); err != nil {
		return fault.Wrap("control.put", fault.Unavailable, err)
	}
	// The servers of a region may write one value at once: whose record won does not matter then.
	if won := l.State().clocks[string(kind)+"/"+id]; won.hash != hash(raw) {
		return fault.New("control.put", fault.Conflict, "write_lost",
			"%s %s: another write, made at %s by %s, outranks this one", kind, id, won.clock.Time().UTC().Format(time.RFC3339), won.origin)
	}
	return nil
}

func (l *Log) lastSequence(ctx context.Context) (uint64, error) {
	s, err := l.opts.JS.Stream(ctx, subject.ControlStream)
	if err != nil {
		return 0, err
	}
	return s.CachedInfo().State.LastSeq, nil
}

func (l *Log) waitFolded(ctx context.Context, seq uint64) error {
	for {
		l.mu.Lock()
		folded, moved := l.folded, l.moved
		l.mu.Unlock()
		if folded >= seq {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		case <-l.done:
			return errors.New("the control log is closed")
		}
	}
}

// follow reads the stream until the context ends. An ordered consumer re-creates itself after a
// reconnect; when it gives up, follow makes a new one. Folding is idempotent, so starting over is safe.
func (l *Log) follow(ctx context.Context) {
	defer close(l.done)
	for ctx.Err() == nil {
		if err := l.read(ctx); err != nil && ctx.Err() == nil {
			l.opts.Logger.Warn("control log interrupted, reading it again", zap.Error(err))
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	}
}

func (l *Log) read(ctx context.Context) error {
	created, err := l.created(ctx)
	if err != nil {
		return err
	}
	cons, err := l.opts.JS.OrderedConsumer(ctx, subject.ControlStream, jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return err
	}
	// A consumer of ours does not outlive its server; missed heartbeats are how that is noticed.
	it, err := cons.Messages(jetstream.PullExpiry(10*time.Second), jetstream.PullHeartbeat(time.Second))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, it.Stop)
	defer stop()
	defer it.Stop()
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel()
	watch.Go(func() { l.watchStream(ctx, created, it.Stop) })
	f := folder{log: l, work: l.State().clone(), published: l.opts.Now()}
	for {
		msg, err := it.Next()
		if err != nil {
			return err
		}
		if err := f.fold(msg); err != nil {
			return err
		}
	}
}

// created is when the control stream was made. A stream that was made anew counts from one again.
func (l *Log) created(ctx context.Context) (time.Time, error) {
	s, err := l.opts.JS.Stream(ctx, subject.ControlStream)
	if err != nil {
		return time.Time{}, err
	}
	at := s.CachedInfo().Created
	if !l.made.Equal(at) && !l.made.IsZero() {
		l.opts.Logger.Warn("the control stream was made anew, reading it from its beginning", zap.Time("made", at))
	}
	l.made = at
	l.mu.Lock()
	l.folded, l.recorded = 0, 0 // what was folded may have other sequences now
	l.mu.Unlock()
	return at, nil
}

// lookEvery is how often the reader looks whether the stream is still the one that it reads.
const lookEvery = 3 * time.Second

// watchStream ends a reader whose stream may be another one: made anew by a region that lost its store, or put back
// to an older copy while the server was away. An ordered consumer that makes itself again goes on at its old
// sequence and would skip what the stream has below it. So after a lost connection all is read again: the log is
// short, and folding a record twice changes nothing.
func (l *Log) watchStream(ctx context.Context, created time.Time, end func()) {
	conn := l.opts.JS.Conn()
	lost := conn.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING)
	defer conn.RemoveStatusListener(lost)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-lost:
			end()
			return
		case <-tick.C:
		}
		call, cancel := context.WithTimeout(ctx, lookEvery)
		s, err := l.opts.JS.Stream(call, subject.ControlStream)
		cancel()
		if err == nil && !s.CachedInfo().Created.Equal(created) {
			end()
			return
		}
	}
}

// folder is the working copy of the state, owned by the reading goroutine.
type folder struct {
	log       *Log
	work      *State
	dirty     bool   // work holds records that the published state does not
	last      uint64 // sequence of the last record in work
	published time.Time
}

func (f *folder) fold(msg jetstream.Msg) error {
	meta, err := msg.Metadata()
	if err != nil {
		return err
	}
	l := f.log
	if c, err := subject.ParseControl(msg.Subject()); err != nil {
		l.opts.Logger.Warn("control record with a subject that is none", zap.Error(err))
	} else if c.Kind == heartbeatKind {
		if c.Origin.Region == l.opts.Self.Region {
			l.heartbeat.Store(max(l.heartbeat.Load(), meta.Timestamp.UnixNano()))
		}
	} else {
		f.record(c, msg.Data(), meta.Timestamp)
		f.last = meta.Sequence.Stream
	}
	if meta.NumPending == 0 || l.opts.Now().Sub(f.published) >= publishEvery {
		f.publish(meta.Sequence.Stream)
	}
	return nil
}

// heartbeatKind is the kind token of subject.ControlHeartbeat.
const heartbeatKind = "hb"

// record merges one message. A record that cannot be read is logged and skipped: one bad record must
// not blind every process of the mesh.
func (f *folder) record(c subject.Control, data []byte, stored time.Time) {
	log := f.log.opts.Logger.With(zap.String("kind", c.Kind), zap.String("id", c.ID), zap.String("origin", c.Origin.String()))
	var r Record
	if err := json.Unmarshal(data, &r); err != nil {
		log.Error("control record refused: not readable", zap.Error(err))
		return
	}
	if string(r.Kind) != c.Kind || r.ID != c.ID || r.Origin != c.Origin.String() {
		log.Error("control record refused: it speaks of something else than its subject")
		return
	}
	if ahead := r.Clock.Time().Sub(stored); ahead > MaxAhead {
		log.Error("control record refused: the writer's clock is ahead", zap.Duration("ahead", ahead), zap.Duration("limit", MaxAhead))
		return
	}
	f.log.ticker.see(r.Clock)
	f.dirty = true
	verdict, err := f.work.merge(&r)
	switch {
	case err != nil:
		log.Error("control record refused", zap.Error(err))
	case verdict == Lost && r.Origin == f.log.self.Load().String():
		log.Warn("a write to the control state lost against another one", zap.String("by", r.By))
	}
}

// publish makes the work so far visible. A heartbeat alone is no change: it wakes nobody but those who
// wait for a sequence.
func (f *folder) publish(seq uint64) {
	l := f.log
	f.published = l.opts.Now()
	if f.dirty {
		f.work.prune(f.published)
		l.state.Store(f.work.clone())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.folded = max(l.folded, seq)
	close(l.moved)
	l.moved = make(chan struct{})
	if f.dirty {
		f.dirty = false
		l.recorded = max(l.recorded, f.last)
		close(l.changed)
		l.changed = make(chan struct{})
	}
}
