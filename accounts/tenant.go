package accounts

import "time"

// TenantState is where a tenant stands. It only moves forward: a removed name is never used again.
type TenantState string

// The states of a tenant.
const (
	Active  TenantState = "active"
	Removed TenantState = "removed"
)

// Tenant is one tenant as the control log holds it.
type Tenant struct {
	Name        string      `json:"name"`
	State       TenantState `json:"state"`
	Account     string      `json:"account"`           // public nkey of its account
	JWT         string      `json:"jwt"`               // the account's claim, signed by the operator
	SigningSeed string      `json:"signing_seed"`      // sealed; signs the account's users
	Limits      Limits      `json:"limits"`            // what the claim grants
	Regions     []string    `json:"regions,omitempty"` // residency; empty means all regions
	CreatedAt   time.Time   `json:"created_at"`
}

// In says whether the tenant lives in the region.
func (t *Tenant) In(region string) bool {
	if len(t.Regions) == 0 {
		return true
	}
	for _, r := range t.Regions {
		if r == region {
			return true
		}
	}
	return false
}

// Unlimited is the value of a limit that limits nothing.
const Unlimited = -1

// Limits are what a tenant's account may use in each region. Zero stands for the default, so that a
// limit added later does not lock out tenants recorded before it.
type Limits struct {
	DiskBytes       int64 `json:"disk_bytes,omitempty"`       // all streams together; reserved on a single server
	MaxPayload      int64 `json:"max_payload,omitempty"`      // one message, bytes
	Streams         int64 `json:"streams,omitempty"`          // number of streams
	Consumers       int64 `json:"consumers,omitempty"`        // number of consumers of all streams
	Connections     int64 `json:"connections,omitempty"`      // client connections
	Subscriptions   int64 `json:"subscriptions,omitempty"`    // subscriptions of all connections
	LeafConnections int64 `json:"leaf_connections,omitempty"` // links to other regions
}

// DefaultLimits are the limits of a tenant for whom nobody said otherwise.
func DefaultLimits() Limits {
	return Limits{
		DiskBytes:       1 << 30,
		MaxPayload:      1 << 20,
		Streams:         16,
		Consumers:       512,
		Connections:     512,
		Subscriptions:   20000,
		LeafConnections: 128,
	}
}

// OrDefault replaces every zero by its default.
func (l Limits) OrDefault() Limits {
	d := DefaultLimits()
	pick := func(v, def int64) int64 {
		if v == 0 {
			return def
		}
		return v
	}
	return Limits{
		DiskBytes:       pick(l.DiskBytes, d.DiskBytes),
		MaxPayload:      pick(l.MaxPayload, d.MaxPayload),
		Streams:         pick(l.Streams, d.Streams),
		Consumers:       pick(l.Consumers, d.Consumers),
		Connections:     pick(l.Connections, d.Connections),
		Subscriptions:   pick(l.Subscriptions, d.Subscriptions),
		LeafConnections: pick(l.LeafConnections, d.LeafConnections),
	}
}

// TenantStatus is what one region's hub says about one tenant: whether its streams and links stand.
type TenantStatus struct {
	Tenant  string `json:"tenant"`
	Region  string `json:"region"`
	Ready   bool   `json:"ready"`
	Problem string `json:"problem,omitempty"` // why not, for a person
	Stored  bool   `json:"stored"`            // the region's servers hold the account's claim
}
