package config

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/weft-mesh/weft/consumers/sink/webhook"
)

// Webhook is the endpoint that events are posted to.
type Webhook struct {
	URL         string        `mapstructure:"url" usage:"where events are posted to, https://host/path"`
	SecretFile  string        `mapstructure:"secret_file" usage:"file with 1 to 4 secrets (whsec_… or whsk_…), one a line; all of them sign, and the file may change while the sink runs"`
	TokenFile   string        `mapstructure:"token_file" usage:"file with a token that is sent as Authorization: Bearer (default: none)"`
	CAFile      string        `mapstructure:"ca_file" usage:"authorities that vouch for the endpoint (default: the system's)"`
	Allow       []string      `mapstructure:"allow" usage:"addresses that are not public and may be reached all the same, such as 10.1.2.0/24"`
	Deny        []string      `mapstructure:"deny" usage:"public addresses that must not be reached, such as one's own"`
	Timeout     time.Duration `mapstructure:"timeout" usage:"time for one request, answer included"`
	Concurrency int           `mapstructure:"concurrency" usage:"requests at a time"`
	Unordered   bool          `mapstructure:"unordered" usage:"true: an event does not wait for earlier ones of its user that failed"`
	MostTold    time.Duration `mapstructure:"most_told" usage:"longest wait that Retry-After is believed"`
	StateFile   string        `mapstructure:"state_file" usage:"file that appears when the endpoint answers 410 Gone; remove it to send again"`
}

func defaultWebhook() Webhook {
	o := webhook.DefaultOptions()
	return Webhook{Timeout: o.Timeout, Concurrency: o.Concurrency, MostTold: o.MostTold}
}

func (p *Problems) webhook(w *Webhook) {
	o := webhook.Options{URL: w.URL, Allow: p.prefixes("sink.webhook.allow", w.Allow), Deny: p.prefixes("sink.webhook.deny", w.Deny)}
	if problem := o.URLProblem(); problem != "" {
		p.addf("sink.webhook.url", "%s", problem)
	}
	p.required("sink.webhook.secret_file", w.SecretFile)
	p.required("sink.webhook.state_file", w.StateFile)
	p.between("sink.webhook.timeout", w.Timeout, time.Millisecond, 10*time.Minute)
	p.count("sink.webhook.concurrency", w.Concurrency, 1, 256)
	p.between("sink.webhook.most_told", w.MostTold, 0, 24*time.Hour)
}

// prefixes reads prefixes, and addresses as the prefixes that hold nothing else.
func (p *Problems) prefixes(key string, list []string) (out []netip.Prefix) {
	for i, s := range list {
		one, err := parsePrefix(s)
		if err != nil {
			p.addf(fmt.Sprintf("%s[%d]", key, i), "%q is neither an address nor a prefix such as 10.1.2.0/24", s)
		}
		out = append(out, one)
	}
	return out
}

func parsePrefix(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Unmap().Prefix(addr.Unmap().BitLen())
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

// Prefixes are Allow and Deny as the sink takes them.
func (w *Webhook) Prefixes() (allow, deny []netip.Prefix) {
	var known Problems // that a loaded configuration has none
	return known.prefixes("", w.Allow), known.prefixes("", w.Deny)
}
