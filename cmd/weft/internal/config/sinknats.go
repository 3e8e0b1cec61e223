package config

import (
	"fmt"
	"net/url"
	"time"

	"github.com/weft-mesh/weft/consumers/sink/nats"
)

// Stream is a stream of any NATS deployment that events are copied to.
type Stream struct {
	URLs     []string      `mapstructure:"urls" usage:"NATS addresses of the target, tls://host:port or nats://host:port"`
	Creds    string        `mapstructure:"creds" usage:"NATS credentials file for the target (default: none)"`
	CA       string        `mapstructure:"ca" usage:"certificate authority of the target (default: the system's)"`
	Domain   string        `mapstructure:"domain" usage:"JetStream domain of the target (default: its server's own)"`
	Stream   string        `mapstructure:"stream" usage:"the target stream, which is there already"`
	Prefix   string        `mapstructure:"prefix" usage:"what the subjects of the copies begin with"`
	Batch    int           `mapstructure:"batch" usage:"events of one batch at most, which is how many are under way"`
	Linger   time.Duration `mapstructure:"linger" usage:"how long a batch waits for more events after its first one"`
	Remember int           `mapstructure:"remember" usage:"how many of the target's last events are compared with what comes"`
	Timeout  time.Duration `mapstructure:"timeout" usage:"time for an answer of the target"`
}

func defaultStream() Stream {
	o := nats.DefaultOptions()
	return Stream{Batch: o.Batch, Linger: o.Linger, Remember: o.Remember, Timeout: o.Timeout}
}

func (p *Problems) stream(s *Stream) {
	if len(s.URLs) == 0 {
		p.addf("sink.nats.urls", "is empty: list the NATS addresses of the target")
	}
	for i, one := range s.URLs {
		u, err := url.Parse(one)
		if err != nil || u.Scheme != "tls" && u.Scheme != "nats" || u.Hostname() == "" || one != u.Scheme+"://"+u.Host {
			p.addf(fmt.Sprintf("sink.nats.urls[%d]", i), "is not tls://host:port or nats://host:port, without a user") // which may be one
		}
	}
	p.required("sink.nats.stream", s.Stream)
	p.count("sink.nats.batch", s.Batch, 1, 10_000)
	p.between("sink.nats.linger", s.Linger, 0, time.Hour)
	p.count("sink.nats.remember", s.Remember, max(s.Batch, 1), 1<<30)
	p.between("sink.nats.timeout", s.Timeout, time.Millisecond, time.Hour)
}
