package config

import (
	"embed"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/accounts/grant"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/group"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/streams/subject"
)

// Consumer is the configuration of one process of `weft consumer run`.
type Consumer struct {
	Data    string          `mapstructure:"data" usage:"data directory of a mesh on this machine, whose mesh.json tells what nats leaves open"`
	Tenant  string          `mapstructure:"tenant" usage:"tenant within mesh.json (default: its first)"`
	Region  string          `mapstructure:"region" usage:"region within mesh.json (default: its first)"`
	NATS    ConsumerNATS    `mapstructure:"nats"`
	Durable string          `mapstructure:"durable" usage:"name of the durable subscription, which holds the position"`
	Topics  []string        `mapstructure:"topics" flag:"topic" usage:"topics to read (default: all)"`
	From    From            `mapstructure:"from" usage:"where a new durable starts: all, new, an RFC 3339 time, a duration ago (15m, 7d) or seq:N"`
	Reorder time.Duration   `mapstructure:"reorder_window" usage:"how long events of a source's user wait for a missing one before them (source_seq); 0: the stream's order is taken"`
	AckWait time.Duration   `mapstructure:"ack_wait" usage:"time after which a dead process's events come again; 0: 30s, with reorder_window 30s more than it"`
	Retry   ConsumerRetry   `mapstructure:"retry"`
	Breaker ConsumerBreaker `mapstructure:"breaker"`
	Group   ConsumerGroup   `mapstructure:"group"`
	Sink    Sink            `mapstructure:"sink"`
	Listen  ConsumerListen  `mapstructure:"listen"`
	Log     Log             `mapstructure:"log"`
}

// ConsumerNATS is the tenant's account in one region.
type ConsumerNATS struct {
	URLs  []string `mapstructure:"urls" flag:"url" usage:"NATS addresses of one region, tls://host:port; mesh.json is not read then"`
	Creds string   `mapstructure:"creds" flag:"creds" usage:"NATS credentials file of the tenant (default: the mesh's)"`
	CA    string   `mapstructure:"ca" flag:"ca" usage:"certificate authority (default: the mesh's; with urls the system's)"`
}

// ConsumerRetry is how an event that was not written is tried again.
type ConsumerRetry struct {
	First    time.Duration `mapstructure:"first" usage:"bound of the wait after the first failure; each further one doubles it"`
	Most     time.Duration `mapstructure:"most" usage:"largest such bound"`
	Attempts int           `mapstructure:"attempts" usage:"failures after which an event goes to the tenant's DLQ, outages not counted; negative: never"`
}

// ConsumerBreaker is when writing pauses altogether.
type ConsumerBreaker struct {
	Failures      int           `mapstructure:"failures" usage:"failures one after the other at which all writing pauses; negative: never"`
	First         time.Duration `mapstructure:"first" usage:"first pause; each further one is twice as long"`
	Most          time.Duration `mapstructure:"most" usage:"longest pause"`
	OptionalAfter time.Duration `mapstructure:"optional_after" usage:"age beyond which events of optional topics are dropped after such a pause; negative: never"`
}

// ConsumerGroup lets several processes share the events, under the name of the durable.
type ConsumerGroup struct {
	Width    int           `mapstructure:"width" usage:"durables that the processes of a consumer group divide among them: 1, 4, 16 or 64; 0: no group"`
	URLFile  string        `mapstructure:"url_file" usage:"file with the URL of the group's database, postgres://user:password@host/database"`
	Schema   string        `mapstructure:"schema" usage:"schema of the group in it: one for each group (default: weft_DURABLE)"`
	TTL      time.Duration `mapstructure:"ttl" usage:"time after which others take over what a silent process owns"`
	Failover time.Duration `mapstructure:"failover" usage:"silence of the region in which the group is active after which this one takes over by itself; 0: never"`
}

// ConsumerListen is where a consumer listens, as host:port.
type ConsumerListen struct {
	Metrics string `mapstructure:"metrics" usage:"address of health, metrics and pprof (plain HTTP: keep it private)"`
}

// Sink says where events go: Kind, and the settings of that kind.
type Sink struct {
	Kind     string   `mapstructure:"kind" flag:"sink" usage:"what events are written to"`
	Files    Files    `mapstructure:"files"`
	NATS     Stream   `mapstructure:"nats"`
	Postgres Postgres `mapstructure:"postgres"`
	Webhook  Webhook  `mapstructure:"webhook"`
}

// SinkKind is one kind of sink.
type SinkKind struct {
	Name  string
	About string // what it does, a phrase
	check func(*Problems, *Sink)
}

// SinkKinds are all of them.
func SinkKinds() []SinkKind {
	return []SinkKind{
		{"files", "writes them as Parquet files into a directory or a bucket, each exactly once", func(p *Problems, s *Sink) { p.files(&s.Files) }},
		{"nats", "copies them to a stream of another NATS deployment or account", func(p *Problems, s *Sink) { p.stream(&s.NATS) }},
		{"postgres", "keeps them in a PostgreSQL database, each exactly once", func(p *Problems, s *Sink) { p.postgres(&s.Postgres) }},
		{"webhook", "posts them to an HTTP endpoint, signed as Standard Webhooks asks", func(p *Problems, s *Sink) { p.webhook(&s.Webhook) }},
	}
}

// SinkNames are the names of all kinds.
func SinkNames() []string {
	var names []string
	for _, k := range SinkKinds() {
		names = append(names, k.Name)
	}
	return names
}

//go:embed examples/*.yaml
var examples embed.FS

// SinkExample is a configuration for one kind of sink, with comments.
func SinkExample(kind string) (text []byte, ok bool) {
	text, err := examples.ReadFile("examples/consumer-" + kind + ".yaml")
	return text, err == nil
}

// DefaultConsumer is a consumer with every default; Durable and the sink have none.
func DefaultConsumer() Consumer {
	o, r := consumers.DefaultOptions(), retry.DefaultPolicy()
	return Consumer{
		Data:    "weft-data",
		From:    "all",
		Retry:   ConsumerRetry{First: r.First, Most: r.Most, Attempts: r.Attempts},
		Breaker: ConsumerBreaker{Failures: o.Breaker.Failures, First: o.Breaker.First, Most: o.Breaker.Most, OptionalAfter: o.Breaker.OptionalAfter},
		Group:   ConsumerGroup{TTL: group.DefaultTTL},
		Sink:    Sink{Files: defaultFiles(), NATS: defaultStream(), Postgres: defaultPostgres(), Webhook: defaultWebhook()},
		Listen:  ConsumerListen{Metrics: "127.0.0.1:8492"},
		Log:     Log{Level: "info", Format: "auto"},
	}
}

// LoadConsumer is LoadHub for a consumer.
func LoadConsumer(path string, flags *pflag.FlagSet) (*Consumer, error) {
	c, _, err := ResolveConsumer(path, flags)
	return c, err
}

// ResolveConsumer is ResolveHub for a consumer.
func ResolveConsumer(path string, flags *pflag.FlagSet) (*Consumer, []Value, error) {
	c := DefaultConsumer()
	values, err := resolve(path, flags, &c)
	if err != nil {
		return nil, nil, err
	}
	return &c, slices.DeleteFunc(values, func(v Value) bool { return c.Sink.foreign(v.Key) }), nil
}

// ConsumerFlags adds a flag for every setting of a consumer but those of one kind of sink, which file and environment have.
func ConsumerFlags(flags *pflag.FlagSet) {
	c := DefaultConsumer()
	addFlags(flags, slices.DeleteFunc(settingsOf(&c), func(s setting) bool { return strings.Count(s.key, ".") > 1 }))
}

// Validate reports everything that is wrong with a consumer's settings: Problems, or nil.
func (c *Consumer) Validate() error { return c.problems().err() }

func (c *Consumer) problems() Problems {
	var p Problems
	if !grant.ValidID(c.Durable) {
		p.addf("durable", "%q is not 1 to 64 of A-Z a-z 0-9 _ -: it names the position, so another name starts anew", c.Durable)
	}
	for i, t := range c.Topics {
		if !subject.ValidTopic(t) && !subject.ValidDerivedTopic(t) {
			p.addf(fmt.Sprintf("topics[%d]", i), "%q is not 1 to 64 of a-z 0-9 _ -", t)
		}
	}
	if _, err := c.From.Parse(time.Now()); err != nil {
		p.addf("from", "%q %s", c.From, err)
	}
	p.between("reorder_window", c.Reorder, 0, 10*time.Minute)
	if c.AckWait != 0 {
		p.between("ack_wait", c.AckWait, max(time.Second, c.Reorder+time.Second), time.Hour)
	}
	p.between("retry.first", c.Retry.First, time.Millisecond, time.Hour)
	p.between("retry.most", c.Retry.Most, c.Retry.First, 24*time.Hour)
	p.between("breaker.first", c.Breaker.First, time.Millisecond, time.Hour)
	p.between("breaker.most", c.Breaker.Most, c.Breaker.First, 24*time.Hour)
	p.group(c)
	p.endpoints("nats.urls", c.NATS.URLs)
	if len(c.NATS.URLs) > 0 && c.NATS.Creds == "" {
		p.addf("nats.creds", "is required with nats.urls, because mesh.json is not read then")
	}
	if c.Listen.Metrics != "" {
		p.addresses([]address{{"listen.metrics", c.Listen.Metrics}})
	}
	p.log(c.Log)
	p.sink(&c.Sink)
	return p
}

func (p *Problems) group(c *Consumer) {
	g := &c.Group
	if g.Width == 0 {
		if *g != (ConsumerGroup{TTL: g.TTL}) {
			p.addf("group.width", "is required with other settings of a group: 1, 4, 16 or 64")
		}
		return
	}
	if !slices.Contains(group.Widths(), g.Width) {
		p.addf("group.width", "%d is not one of %v", g.Width, group.Widths())
	}
	if len(c.Durable) > group.MaxName {
		p.addf("durable", "%q has more than %d characters: those of a group's durables come behind it", c.Durable, group.MaxName)
	}
	p.required("group.url_file", g.URLFile)
	p.between("group.ttl", g.TTL, group.LeastTTL, group.MostTTL)
	if g.Failover != 0 {
		p.between("group.failover", g.Failover, 3*g.TTL, 24*time.Hour)
	}
}

// sink checks the settings of the kind that was chosen, and that there are none of another one.
func (p *Problems) sink(s *Sink) {
	i := slices.IndexFunc(SinkKinds(), func(k SinkKind) bool { return k.Name == s.Kind })
	if i < 0 {
		p.addf("sink.kind", "%q is not one of %s", s.Kind, strings.Join(SinkNames(), ", "))
		return
	}
	SinkKinds()[i].check(p, s)
	def := DefaultConsumer().Sink
	defaults := appendSettings(nil, "sink.", reflect.ValueOf(&def).Elem())
	for i, is := range appendSettings(nil, "sink.", reflect.ValueOf(s).Elem()) {
		if s.foreign(is.key) && !reflect.DeepEqual(is.value.Interface(), defaults[i].value.Interface()) {
			p.addf(is.key, "is for another sink: sink.kind is %s", s.Kind)
		}
	}
}

func (p *Problems) count(key string, n, low, high int) {
	if n < low || n > high {
		p.addf(key, "%d is not between %d and %d", n, low, high)
	}
}

// foreign says whether a setting belongs to another kind of sink.
func (s *Sink) foreign(key string) bool {
	rest, ok := strings.CutPrefix(key, "sink.")
	kind, _, nested := strings.Cut(rest, ".")
	return ok && nested && kind != s.Kind
}
