package config

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weft-mesh/weft/streams/subject"
)

// Validate reports everything that is wrong with a hub's settings: Problems, or nil.
func (h *Hub) Validate() error { return h.problems().err() }

// Validate reports everything that is wrong with a relay's settings: Problems, or nil.
func (r *Relay) Validate() error { return r.problems().err() }

func (h *Hub) problems() Problems {
	var p Problems
	p.region("region", h.Region)
	p.required("data", h.Data)
	if h.Server < 0 || h.Server > 2 {
		p.addf("server", "%d is not 0, 1 or 2: a region has one server or three", h.Server)
	}
	listen := []address{
		{"listen.nats", h.Listen.Nats}, {"listen.leaf", h.Listen.Leaf},
		{"listen.admin", h.Listen.Admin}, {"listen.metrics", h.Listen.Metrics},
	}
	if len(h.Routes) > 0 {
		listen = append(listen, address{"listen.route", h.Listen.Route})
	}
	if host, port, err := net.SplitHostPort(h.Advertise); h.Advertise != "" && (err != nil || host == "" || !validPort(port)) {
		p.addf("route_advertise", "%q is not host:port", h.Advertise)
	}
	p.addresses(listen)
	p.peers(h.Region, h.Peers)
	p.endpoints("routes", h.Routes)
	p.oneOf("sync", h.Sync, "interval", "always")
	if h.Sync == "interval" {
		p.between("sync_interval", h.SyncInterval, 10*time.Millisecond, 2*time.Minute)
	}
	if h.MaxStore < 1<<20 {
		p.addf("max_store", "%s is less than 1MiB", h.MaxStore)
	}
	p.between("dedupe_window", h.DedupeWindow, time.Second, 24*time.Hour)
	p.between("ask_peers", h.AskPeers, 0, 10*time.Minute)
	if h.RepairEvery != 0 {
		p.between("repair_every", h.RepairEvery, 100*time.Millisecond, 24*time.Hour)
	}
	p.between("repair_after", h.RepairAfter, time.Second, 24*time.Hour)
	p.between("repair_bucket", h.RepairBucket, time.Second, 24*time.Hour)
	p.oneOf("durability", h.Durability, "strict", "relaxed")
	p.log(h.Log)
	return p
}

func (r *Relay) problems() Problems {
	var p Problems
	p.region("region", r.Region)
	if !isID(r.ID) {
		p.addf("id", "%q is not 1 to %d lower-case letters, digits or '-'", r.ID, maxID)
	}
	p.required("data", r.Data)
	p.addresses([]address{{"listen.https", r.Listen.HTTPS}, {"listen.metrics", r.Listen.Metrics}})
	for i, host := range r.Hosts {
		if !validHost(host) {
			p.addf(fmt.Sprintf("hosts[%d]", i), "%q is not host or host:port", host)
		}
	}
	if len(r.Hub) == 0 {
		p.addf("hub", "is empty: list the NATS addresses of the region's hub servers, tls://host:port")
	}
	p.endpoints("hub", r.Hub)
	p.limits(r.Limits)
	p.tls(r.TLS)
	p.issuers(r.Tokens.Issuers)
	p.log(r.Log)
	return p
}

func (p *Problems) limits(l Limits) {
	if l.Body < 1<<10 || l.Body > 64<<20 {
		p.addf("limits.body", "%s is not between 1KiB and 64MiB", l.Body)
	}
	p.between("limits.read_timeout", l.ReadTimeout, 10*time.Millisecond, 10*time.Minute)
	p.between("limits.ack_timeout", l.AckTimeout, 10*time.Millisecond, 10*time.Minute)
	p.between("limits.remote_timeout", l.Remote, 10*time.Millisecond, time.Minute)
	if l.Window < 1 || l.Window > 1<<20 {
		p.addf("limits.window", "%d is not between 1 and %d", l.Window, 1<<20)
	}
	if l.Requests < 1<<10 || l.Requests > 1<<28 {
		p.addf("limits.requests", "%d is not between %d and %d", l.Requests, 1<<10, 1<<28)
	}
	p.between("limits.drain", l.Drain, 0, 10*time.Minute)
}

func (p *Problems) log(l Log) {
	p.oneOf("log.level", l.Level, "debug", "info", "warn", "error")
	p.oneOf("log.format", l.Format, "auto", "console", "json")
}

func (p *Problems) required(key, value string) {
	if value == "" {
		p.addf(key, "is required")
	}
}

// region checks the grammar that origins and subjects give to region names.
func (p *Problems) region(key, name string) {
	if name == "" {
		p.addf(key, "is required")
	} else if !subject.ValidRegion(name) {
		p.addf(key, "%q is not a region name: a lower-case letter, then up to 30 lower-case letters, digits or '-'", name)
	}
}

func (p *Problems) oneOf(key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		p.addf(key, "%q is not one of %s", value, strings.Join(allowed, ", "))
	}
}

func (p *Problems) between(key string, d, low, high time.Duration) {
	if d < low || d > high {
		p.addf(key, "%s is not between %s and %s", d, low, high)
	}
}

type address struct{ key, value string }

// addresses checks host:port, and that no two listeners want the same one.
func (p *Problems) addresses(list []address) {
	taken := map[string]string{}
	for _, a := range list {
		_, port, err := net.SplitHostPort(a.value)
		if err != nil || !validPort(port) {
			p.addf(a.key, "%q is not host:port", a.value)
			continue
		}
		if other, ok := taken[a.value]; ok && port != "0" {
			p.addf(a.key, "%s is already used by %s", a.value, other)
		}
		taken[a.value] = a.key
	}
}

func (p *Problems) peers(self string, peers []Peer) {
	seen := map[string]bool{}
	for i, peer := range peers {
		key := fmt.Sprintf("peers[%d]", i)
		p.region(key+".name", peer.Name)
		switch {
		case peer.Name != "" && peer.Name == self:
			p.addf(key+".name", "%q is this region itself", peer.Name)
		case seen[peer.Name]:
			p.addf(key+".name", "%q is listed twice", peer.Name)
		}
		seen[peer.Name] = true
		if len(peer.Leaf) == 0 {
			p.addf(key+".leaf", "is empty: list the leaf addresses of %s, tls://host:port", peer.Name)
		}
		p.endpoints(key+".leaf", peer.Leaf)
	}
}

// endpoints checks tls://host:port with nothing else in it.
func (p *Problems) endpoints(key string, list []string) {
	for i, s := range list {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "tls" || u.Hostname() == "" || !validPort(u.Port()) || u.Port() == "0" || s != "tls://"+u.Host {
			p.addf(fmt.Sprintf("%s[%d]", key, i), "%q is not tls://host:port", s)
		}
	}
}

// validHost accepts what a producer may send in Host: a name or an address, with or without a port.
func validHost(s string) bool {
	if net.ParseIP(strings.Trim(s, "[]")) != nil {
		return true
	}
	if host, port, err := net.SplitHostPort(s); err == nil {
		return host != "" && validPort(port)
	}
	return s != "" && !strings.ContainsAny(s, "/@: ")
}

func validPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}

func isID(s string) bool {
	return s != "" && len(s) <= maxID && !strings.ContainsFunc(s, func(r rune) bool { return !isIDRune(r) })
}
