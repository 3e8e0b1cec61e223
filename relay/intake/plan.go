package intake

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/routing"
	"github.com/weft-mesh/weft/accounts/token"
	"github.com/weft-mesh/weft/relay/gate"
	"github.com/weft-mesh/weft/relay/uplink"
	"github.com/weft-mesh/weft/streams/event"
	"github.com/weft-mesh/weft/streams/header"
	"github.com/weft-mesh/weft/streams/partition"
	"github.com/weft-mesh/weft/streams/subject"
)

// plan is what one snapshot of the control state means for one tenant at this relay. Immutable.
type plan struct {
	state  *control.State
	routes *accounts.Routes // nil while the tenant has the default ones
	table  *routing.Table
	homes  []partition.Region // where keys of this tenant may have their home
	self   *accounts.RegionInfo
}

// plan returns the tenant's plan for the snapshot of the exchange, and makes it when the control state
// has changed since the last request.
func (h *Handler) plan(x *exchange) (*plan, *problem) {
	tenant := x.caller.tenant
	if !tenant.In(h.o.Region) {
		return nil, fail(http.StatusForbidden, codeResidency, "the tenant's residency does not include region %s", h.o.Region)
	}
	var old *plan
	if v, ok := h.plans.Load(tenant.Name); ok {
		if old = v.(*plan); old.state == x.state {
			return old, nil
		}
	}
	p := &plan{state: x.state, routes: x.state.Routes[tenant.Name], self: x.state.Regions[h.o.Region]}
	if p.self == nil {
		return nil, fail(http.StatusServiceUnavailable, codeRegion, "this relay does not know its own region %s yet", h.o.Region)
	}
	if old != nil && old.routes == p.routes {
		p.table = old.table
	} else {
		table, err := routing.Compile(x.state.RoutesOf(tenant.Name))
		if err != nil {
			h.o.Logger.Error("a tenant's routes do not compile", zap.String("tenant", tenant.Name), zap.Error(err))
			return nil, fail(http.StatusServiceUnavailable, codeRoutes, "the tenant's routes are not usable")
		}
		p.table = table
	}
	for name, region := range x.state.Regions {
		if tenant.In(name) {
			p.homes = append(p.homes, partition.Region{Name: name, Weight: region.Weight})
		}
	}
	h.plans.Store(tenant.Name, p)
	return p, nil
}

// why is the reason of an outcome that is not a success.
type why struct {
	code, detail, pointer string
	syntax                bool          // the event is not well-formed: 400 rather than 422
	refusal               *gate.Refusal // of an event that schemas or rules refuse
}

// refusal is a reason with the status that it makes.
type refusal struct {
	status status
	why    why
}

func reject(code, detail, pointer string) *refusal {
	return &refusal{status: statusRejected, why: why{code: code, detail: detail, pointer: pointer}}
}

func postpone(code, detail string) *refusal {
	return &refusal{status: statusUnavailable, why: why{code: code, detail: detail}}
}

// route is a topic as one request sees it.
type route struct {
	topic    *accounts.Topic
	scope    subject.Scope
	ttl      string   // Nats-TTL
	class    string   // Weft-Class
	refused  *refusal // of every event of the topic
	pointer  string   // of the routing key, "" for the user id
	earliest time.Time
}

// maxTTL is the longest retention that is given to each message: a live one costs the server memory.
const maxTTL = 24 * time.Hour

// routeOf returns the route of an event type, decided once for each topic and request.
func (h *Handler) routeOf(x *exchange, p *plan, eventType string) *route {
	topic := p.table.Match(eventType)
	for i := range x.routes {
		if x.routes[i].topic == topic {
			return &x.routes[i]
		}
	}
	r := route{topic: topic, scope: subject.Global}
	if topic.Scope == accounts.ScopeRegional {
		r.scope = subject.Regional
	}
	if d := topic.Retention.Std(); d > 0 && d <= maxTTL {
		r.ttl = strconv.FormatInt(max(int64(d/time.Second), 1), 10)
	}
	if topic.Class == accounts.Optional {
		r.class = header.ClassOptional
	}
	if key := topic.KeyPointer(); key != accounts.DefaultKey {
		r.pointer = key
	}
	if age := topic.EventAge(); age > 0 {
		r.earliest = x.now.Add(-age)
	}
	r.refused = h.refusedTopic(x, topic)
	x.routes = append(x.routes, r)
	return &x.routes[len(x.routes)-1]
}

func (h *Handler) refusedTopic(x *exchange, topic *accounts.Topic) *refusal {
	switch {
	case !x.caller.key.MaySend(topic.Name):
		return reject(codeTopicDenied, "the key may not send to topic "+topic.Name, "/event_type")
	case x.caller.grant != nil && !x.caller.grant.MaySend(topic.Name):
		return reject(codeScope, "the token has no scope "+token.ScopePrefix+topic.Name, "/event_type")
	case len(topic.Producers) > 0 && !slices.Contains(topic.Producers, x.caller.producer):
		return reject(codeTopicDenied, "this producer may not send to topic "+topic.Name, "/event_type")
	case topic.Class == accounts.Critical && h.o.Control.HeartbeatAge() > h.o.Limits.Heartbeat:
		return postpone(codeControlStale, "topic "+topic.Name+" is critical, and this relay has not heard of the control state for more than "+
			accounts.Duration(h.o.Limits.Heartbeat).String())
	}
	return nil
}

// target is where one event goes.
type target struct {
	region    *accounts.RegionInfo
	home      string // when it is another region than the one that stores
	key       string // that routes the event
	partition int
}

// message is an event of the topic on its way to a target: its subject, and what goes there.
func (r *route) message(t *target, e *event.Event) (subject.Event, uplink.Message) {
	return subject.Event{Origin: t.region.Origin(), Scope: r.scope, Partition: t.partition, Topic: r.topic.Name, Type: e.Type},
		uplink.Message{Region: t.region.Name, ID: e.ID, Home: t.home, TTL: r.ttl, Class: r.class, Remote: r.topic.Remote(), Data: e.Raw}
}

// place decides where an event goes, or why it does not.
func (h *Handler) place(x *exchange, p *plan, r *route, e *event.Event) (t target, no *refusal) {
	if r.refused != nil {
		return t, r.refused
	}
	if e.OccurredAt.After(x.now.Add(h.o.Limits.Skew)) {
		return t, reject(codeFuture, "occurred_at is more than "+accounts.Duration(h.o.Limits.Skew).String()+
			" ahead of this relay's clock, which says "+x.now.UTC().Format(time.RFC3339), "/occurred_at")
	}
	if e.OccurredAt.Before(r.earliest) {
		return t, reject(codeTooOld, "occurred_at is older than the "+accounts.Duration(r.topic.EventAge()).String()+
			" that topic "+r.topic.Name+" allows", "/occurred_at")
	}
	key := e.UserID
	if r.pointer != "" {
		var ok bool
		if key, ok = event.Lookup(e.Raw, r.pointer); !ok || key == "" {
			return t, reject(codeRoutingKey, "topic "+r.topic.Name+" routes by this member, which is missing or not a string or number", r.pointer)
		}
	}
	t.region, t.partition, t.key = p.self, partition.Of(key), key
	if r.scope == subject.Global && len(p.homes) > 1 {
		if home := partition.Home(key, p.homes); home != "" && home != h.o.Region {
			if r.topic.Home == accounts.Forward {
				t.region = x.state.Regions[home]
			} else {
				t.home = home
			}
		}
	}
	if r.topic.Class == accounts.Critical && t.region.Ack != accounts.AckStoredFsync && !t.region.RelaxedCritical {
		return t, postpone(codeDurability, "topic "+r.topic.Name+" is critical and needs "+accounts.AckStoredFsync+
			", but region "+t.region.Name+" acknowledges before its disks have the event")
	}
	return t, nil
}
