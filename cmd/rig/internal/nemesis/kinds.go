package nemesis

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Kind names a kind of fault.
type Kind string

// The kinds of faults.
const (
	KillRelay   Kind = "kill-relay"   // SIGKILL, started again after For
	KillHub     Kind = "kill-hub"     // one server
	KillRegion  Kind = "kill-region"  // every server and the relay of a region at once
	KillLedger  Kind = "kill-ledger"  // the consumer
	PauseRelay  Kind = "pause-relay"  // SIGSTOP, SIGCONT after For
	PauseHub    Kind = "pause-hub"    //
	PauseLedger Kind = "pause-ledger" //
	Cut         Kind = "cut"          // connections between two regions are reset and refused
	LongCut     Kind = "long-cut"     // longer than the dedupe window
	BlackHole   Kind = "black-hole"   // connections stay, nothing comes through
	OneWay      Kind = "one-way"      // nothing comes through from Region to Peer
	SlowLink    Kind = "slow-link"    // Amount ms of delay, as much jitter, little bandwidth
	LateAcks    Kind = "late-acks"    // what the hub says to the relay is held back
	LostAcks    Kind = "lost-acks"    // and then the connection is reset
	StepDown    Kind = "step-down"    // the leader of the stream hands over, three times
	Isolate     Kind = "isolate"      // one server of three is cut off from its neighbours
	Rolling     Kind = "rolling"      // SIGTERM and start of every process of a region in turn
	Skew        Kind = "skew"         // the relay's clock is Amount seconds off
	HotTenant   Kind = "hot-tenant"   // another tenant sends as fast as it can
	StreamFull  Kind = "stream-full"  // a tenant's stream is at its limit in one region

	WipeOne     Kind = "wipe-one"     // the data of one server of three are gone
	WipeRegion  Kind = "wipe-region"  // a region comes back with nothing
	RollBack    Kind = "roll-back"    // a region comes back with an older copy of its data
	CorruptOne  Kind = "corrupt-one"  // bytes of a block are flipped on one server of three
	PowerCut    Kind = "power-cut"    // what was not synced is lost, with sync always
	PowerLoss   Kind = "power-loss"   // the same with sync by interval: may lose what was acknowledged last
	FullDisk    Kind = "full-disk"    // no space is left for a while
	DiskErrors  Kind = "disk-errors"  // writes and syncs fail for a while
	AgedOut     Kind = "aged-out"     // all events of a quiet tenant age out, then a cut, events, and the heal
	StartOrders Kind = "start-orders" // both regions are stopped and started, the one For after the other

	RevokeKey  Kind = "revoke-key"  // a key that is in use is revoked
	RevokeCert Kind = "revoke-cert" // a client certificate
	ExpireCert Kind = "expire-cert" // a client certificate runs out on an open connection
	RotateKey  Kind = "rotate-key"  // a key that is in use is replaced, with a short grace period
	SkewSender Kind = "skew-sender" // a producer's clock is Amount seconds off
	Replay     Kind = "replay"      // captured requests are sent again, everywhere, before and after a restart of the relay
	Forge      Kind = "forge"       // requests that nobody signed so
)

// credentialKinds strike what producers identify themselves with. They are drawn apart from the others, so that the
// plans of a seed are the same as before there were any, and never with heavy faults: what a region knows of
// credentials goes with its data.
var credentialKinds = []Kind{RevokeKey, RevokeCert, ExpireCert, RotateKey, SkewSender, Replay, Forge}

// harmless faults keep no relay from hearing of changes or from knowing the time.
var harmless = append([]Kind{KillRelay, KillLedger, PauseLedger, HotTenant, StreamFull}, credentialKinds...)

// detail is what a kind needs to be placed.
type detail struct {
	weight      int
	least, most time.Duration
	link        bool // between two regions
	amounts     []int
}

const ms = time.Millisecond

var kinds = map[Kind]detail{
	KillRelay:   {weight: 8, least: 50 * ms, most: 1500 * ms},
	KillHub:     {weight: 10, least: 50 * ms, most: 3000 * ms},
	KillRegion:  {weight: 6, least: 50 * ms, most: 3000 * ms},
	KillLedger:  {weight: 6, least: 50 * ms, most: 1000 * ms},
	PauseRelay:  {weight: 4, least: 300 * ms, most: 4000 * ms},
	PauseHub:    {weight: 6, least: 300 * ms, most: 5000 * ms},
	PauseLedger: {weight: 3, least: 300 * ms, most: 4000 * ms},
	Cut:         {weight: 10, least: 200 * ms, most: 4000 * ms, link: true},
	LongCut:     {weight: 6, least: Window + time.Second, most: Window + 4*time.Second, link: true},
	BlackHole:   {weight: 5, least: 500 * ms, most: 6000 * ms, link: true},
	OneWay:      {weight: 6, least: 500 * ms, most: 6000 * ms, link: true},
	SlowLink:    {weight: 5, least: 2000 * ms, most: 6000 * ms, link: true, amounts: []int{20, 80, 200}},
	LateAcks:    {weight: 6, least: 300 * ms, most: 2500 * ms},
	LostAcks:    {weight: 6, least: 300 * ms, most: 4000 * ms},
	StepDown:    {weight: 8, least: 300 * ms, most: 1500 * ms},
	Isolate:     {weight: 8, least: 500 * ms, most: 5000 * ms},
	Rolling:     {weight: 4, least: 100 * ms, most: 500 * ms},
	Skew:        {weight: 4, least: 1000 * ms, most: 3000 * ms, amounts: []int{-540, -90, -20, 20, 90, 540}},
	HotTenant:   {weight: 4, least: 1000 * ms, most: 3000 * ms},
	StreamFull:  {weight: 4, least: 3000 * ms, most: 5000 * ms},
	StartOrders: {weight: 3, least: 0, most: 3000 * ms},

	WipeOne:    {weight: 3, least: 100 * ms, most: 1000 * ms},
	WipeRegion: {weight: 5, least: 200 * ms, most: 2000 * ms},
	RollBack:   {weight: 6, least: 1500 * ms, most: 4000 * ms},
	CorruptOne: {weight: 3, least: 100 * ms, most: 500 * ms},
	PowerCut:   {weight: 4, least: 200 * ms, most: 1500 * ms},
	PowerLoss:  {weight: 3, least: 200 * ms, most: 1500 * ms},
	FullDisk:   {weight: 3, least: 1000 * ms, most: 4000 * ms},
	DiskErrors: {weight: 3, least: 500 * ms, most: 2000 * ms},
	AgedOut:    {weight: 3, least: 500 * ms, most: 1000 * ms, link: true},

	RevokeKey:  {weight: 4, least: 1000 * ms, most: 2000 * ms},
	RevokeCert: {weight: 4, least: 1000 * ms, most: 2000 * ms},
	ExpireCert: {weight: 3, least: 2000 * ms, most: 3000 * ms},
	RotateKey:  {weight: 4, least: 1000 * ms, most: 2000 * ms},
	SkewSender: {weight: 3, least: 1000 * ms, most: 2000 * ms, amounts: []int{-3600, -540, -310, -290, -60, 60, 290, 310, 540, 3600}},
	Replay:     {weight: 5, least: 2500 * ms, most: 4000 * ms},
	Forge:      {weight: 3, least: 500 * ms, most: 1500 * ms},
}

// Heavy faults destroy data or need a disk of their own: a plan holds at most one of them.
var heavyKinds = []Kind{WipeOne, WipeRegion, RollBack, CorruptOne, PowerCut, PowerLoss, FullDisk, DiskErrors, AgedOut}

var (
	needThree = []Kind{WipeOne, CorruptOne, StepDown, Isolate}
	onThree   = []Kind{KillHub, PauseHub} // strike the region of three servers where there is one
	needLazy  = []Kind{PowerCut, PowerLoss, FullDisk, DiskErrors}
	// A skewed relay stamps events with its time, and lost events are looked for by that time: the comparison
	// would come to them long after the trial.
	notWithHeavy = []Kind{Skew}
)

// heavyShare of the plans holds a heavy fault.
const heavyShare = 40

func allowed(s Settings, k Kind) bool {
	if slices.Contains(needLazy, k) && !s.Lazy {
		return false
	}
	return len(s.Only) == 0 || slices.Contains(s.Only, k)
}

// pickHeavy chooses a heavy fault, or none.
func pickHeavy(r *rand.Rand, s Settings) Kind {
	share := heavyShare
	if len(s.Only) > 0 && !slices.ContainsFunc(s.Only, func(k Kind) bool { return !slices.Contains(heavyKinds, k) }) {
		share = 100
	}
	if r.IntN(100) >= share {
		return ""
	}
	return weighted(r, slices.DeleteFunc(slices.Clone(heavyKinds), func(k Kind) bool { return !allowed(s, k) }))
}

// credentials adds faults of credentials, to half of the plans that can have any.
func (p *Plan) credentials(s Settings) {
	r := rand.New(rand.NewPCG(p.Seed, 0x6b657973)) //nolint:gosec // repeatable on purpose
	from := slices.DeleteFunc(slices.Clone(credentialKinds), func(k Kind) bool { return !allowed(s, k) })
	if len(from) == 0 || r.IntN(100) < 50 && len(p.Faults) > 0 {
		return
	}
	for range 1 + r.IntN(3) {
		f := p.place(r, weighted(r, from))
		f.At = time.Duration(r.Int64N(int64(s.Length / 2))).Round(10 * ms)
		p.Faults = append(p.Faults, f)
	}
}

// HasCredentials says whether the plan strikes credentials.
func (p *Plan) HasCredentials() bool {
	return slices.ContainsFunc(p.Faults, func(f Fault) bool { return slices.Contains(credentialKinds, f.Kind) })
}

// pickLight chooses one of the others that the topology can suffer.
func (p *Plan) pickLight(r *rand.Rand, s Settings, heavy Kind) Kind {
	_, three := p.three()
	var from []Kind
	for _, k := range Kinds() {
		switch {
		case slices.Contains(heavyKinds, k), slices.Contains(credentialKinds, k), !allowed(s, k):
		case slices.Contains(needThree, k) && !three:
		case heavy != "" && slices.Contains(notWithHeavy, k):
		default:
			from = append(from, k)
		}
	}
	return weighted(r, from)
}

func weighted(r *rand.Rand, from []Kind) Kind {
	sum := 0
	for _, k := range from {
		sum += kinds[k].weight
	}
	if sum == 0 {
		return ""
	}
	roll := r.IntN(sum)
	for _, k := range from {
		if roll -= kinds[k].weight; roll < 0 {
			return k
		}
	}
	panic("nemesis: weights")
}

// Kinds lists all kinds by name.
func Kinds() []Kind {
	out := make([]Kind, 0, len(kinds))
	for k := range kinds {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// Heavy says whether a plan holds at most one fault of the kind's sort.
func Heavy(k Kind) bool { return slices.Contains(heavyKinds, k) }
