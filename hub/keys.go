package hub

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/control"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

// secretBytes is the length of an HMAC key: the block that SHA-256 makes of it (RFC 2104 §3).
const secretBytes = 32

// KeySpec asks for a signing key. Zero values stand for defaults.
type KeySpec struct {
	Tenant     string    `json:"tenant"`
	Kid        string    `json:"kid,omitempty"`        // empty: made up
	Producer   string    `json:"producer,omitempty"`   // whose requests it signs; empty: "default"
	Algorithms []string  `json:"algorithms,omitempty"` // empty: weft-v1
	Topics     []string  `json:"topics,omitempty"`     // empty: all of the tenant's
	Active     bool      `json:"active,omitempty"`     // at once, instead of pending
	ActiveFrom time.Time `json:"active_from,omitzero"` // pending until then
	Rotation   int       `json:"rotation_days,omitempty"`
	GraceDays  int       `json:"grace_period_days,omitempty"`
	PublicKey  string    `json:"public_key,omitempty"` // base64 of 32 bytes: for schemes whose signer keeps the private key
}

// IssuedKey is a key with its secret, which is told here alone: the control state holds it sealed.
type IssuedKey struct {
	KeyView
	Secret string `json:"secret,omitempty"` // base64; none where the producer gave its public key
	// Waiting names the regions in which the key may not be known yet, with what they said.
	Waiting map[string]string `json:"waiting,omitempty"`
}

// KeyView is what the admin API tells of a key: no secret, sealed or not.
type KeyView struct {
	Kid        string        `json:"kid"`
	Tenant     string        `json:"tenant"`
	Producer   string        `json:"producer"`
	State      keyring.State `json:"state"` // now
	Algorithms []string      `json:"algorithms"`
	Topics     []string      `json:"topics,omitempty"`
	CreatedAt  time.Time     `json:"created_at"`
	ActiveFrom time.Time     `json:"active_from,omitzero"`
	GraceUntil time.Time     `json:"grace_until,omitzero"`
	Replaces   string        `json:"replaces,omitempty"`
	ReplacedBy string        `json:"replaced_by,omitempty"`
	AgeSeconds int64         `json:"age_seconds"` // since it became active
	DueAt      time.Time     `json:"due_at,omitzero"`
	Due        bool          `json:"due"` // an active key that is older than its rotation allows
	Rotation   int           `json:"rotation_days"`
	GraceDays  int           `json:"grace_period_days"`
}

// viewKey is pure.
func viewKey(k *keyring.Key, replacedBy string, now time.Time) KeyView {
	v := KeyView{
		Kid: k.Kid, Tenant: k.Tenant, Producer: k.Producer, State: k.StateAt(now), Algorithms: k.Algorithms, Topics: k.Topics,
		CreatedAt: k.CreatedAt, ActiveFrom: k.ActiveFrom, GraceUntil: k.GraceUntil, Replaces: k.Replaces, ReplacedBy: replacedBy,
		Rotation: cmp.Or(k.Rotation, keyring.DefaultRotation), GraceDays: cmp.Or(k.GraceDays, keyring.DefaultGrace),
		AgeSeconds: int64(max(0, now.Sub(k.Since())) / time.Second),
	}
	if v.State == keyring.Active {
		v.DueAt = k.Due()
		v.Due = !now.Before(v.DueAt)
	}
	return v
}

// Keys lists keys by tenant, producer and age, of one tenant or, with "", of all active ones.
func (h *Hub) Keys(tenant string) ([]KeyView, error) {
	state := h.State()
	if _, ok := state.Tenant(tenant); !ok && tenant != "" {
		return nil, noSuchTenant("key.ls", tenant)
	}
	successors := map[string]string{}
	for _, k := range state.Keys {
		if k.Replaces != "" {
			successors[k.Replaces] = max(successors[k.Replaces], k.Kid)
		}
	}
	out := []KeyView{}
	for _, k := range state.Keys {
		if _, active := state.Tenant(k.Tenant); active && (tenant == "" || k.Tenant == tenant) {
			out = append(out, viewKey(k, successors[k.Kid], h.opts.Now()))
		}
	}
	slices.SortFunc(out, func(a, b KeyView) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Producer, b.Producer), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.Kid, b.Kid))
	})
	return out, nil
}

func noSuchTenant(op, name string) error {
	return fault.New(op, fault.NotFound, "no_such_tenant", "there is no tenant %q", name)
}

// AddKey makes a key for a tenant in any region. It returns once the own region's relays know the key and every
// other one does, or confirmWait has passed.
func (h *Hub) AddKey(ctx context.Context, spec KeySpec, by string) (*IssuedKey, error) {
	const op = "key.add"
	if err := h.requireOpen(op); err != nil {
		return nil, err
	}
	tenant, ok := h.State().Tenant(spec.Tenant)
	if !ok {
		return nil, noSuchTenant(op, spec.Tenant)
	}
	if err := h.checkKey(op, &spec); err != nil {
		return nil, err
	}
	key, secret, err := h.newKey(ctx, spec)
	if err != nil {
		return nil, err
	}
	if err := h.state.Put(ctx, control.KindKey, key.Kid, key, by); err != nil {
		return nil, err
	}
	return h.issued(key, secret, h.confirmed(ctx, tenant, key, nil)), nil
}

// checkKey fills what was left open and refuses what cannot be meant. A kid is never given twice, not even after
// its key was revoked or its tenant removed: requests that name it were signed with another secret.
func (h *Hub) checkKey(op string, spec *KeySpec) error {
	bad := func(code, format string, args ...any) error {
		return fault.New(op, fault.Invalid, code, format, args...)
	}
	if spec.Kid == "" {
		spec.Kid = h.newKid(spec.Tenant)
	}
	spec.Producer = cmp.Or(spec.Producer, "default")
	if len(spec.Algorithms) == 0 {
		spec.Algorithms = []string{keyring.WeftV1}
	}
	switch {
	case !keyring.ValidKid(spec.Kid):
		return bad("invalid_kid", "%q is no key id: 1 to %d of A-Z, a-z, 0-9, _ and -", spec.Kid, keyring.MaxKid)
	case !accounts.ValidName(spec.Producer):
		return bad("invalid_producer", "%q is no producer name: a lower-case letter, then up to 31 of a-z, 0-9 and -", spec.Producer)
	case spec.Rotation < 0 || spec.Rotation > 3650 || spec.GraceDays < 0 || spec.GraceDays > 365:
		return bad("invalid_days", "rotation_days is 1 to 3650 and grace_period_days 1 to 365; 0 is the default")
	case spec.Active && !spec.ActiveFrom.IsZero():
		return bad("invalid_start", "a key is active at once or from some time on, not both")
	}
	if k, ok := h.State().Keys[spec.Kid]; ok {
		return fault.New(op, fault.Conflict, "kid_used", "key id %s is of tenant %s and %s; an id is never given twice", spec.Kid, k.Tenant, k.StateAt(h.opts.Now()))
	}
	if err := keyring.CheckAlgorithms(spec.Algorithms); err != nil {
		return err
	}
	routes := h.State().RoutesOf(spec.Tenant)
	for _, t := range spec.Topics {
		if !slices.ContainsFunc(routes.Topics, func(have accounts.Topic) bool { return have.Name == t }) {
			return bad("unknown_topic", "tenant %s has no topic %q: see `weft tenant routes %s`", spec.Tenant, t, spec.Tenant)
		}
	}
	return nil
}

// newKid makes up an id that no region makes up at the same time, and that tells whose and how old the key is.
func (h *Hub) newKid(tenant string) string {
	return tenant + "-" + h.opts.Now().UTC().Format("060102") + "-" + hex.EncodeToString(keyring.NewSecret(4))
}

func (h *Hub) newKey(ctx context.Context, spec KeySpec) (*keyring.Key, keyring.Secret, error) {
	algorithms := spec.Algorithms
	if len(algorithms) == 0 {
		algorithms = []string{keyring.WeftV1}
	}
	secret, sealed, err := h.sealNew(ctx, algorithms, spec.PublicKey)
	if err != nil {
		return nil, nil, err
	}
	key := &keyring.Key{
		Kid: spec.Kid, Tenant: spec.Tenant, Producer: cmp.Or(spec.Producer, "default"), State: keyring.Pending, Sealed: sealed,
		Algorithms: algorithms, Topics: spec.Topics, CreatedAt: h.opts.Now().UTC(), ActiveFrom: spec.ActiveFrom.UTC(),
		Rotation: spec.Rotation, GraceDays: spec.GraceDays,
	}
	if spec.Active {
		key = key.Activated(key.CreatedAt)
	}
	return key, secret, nil
}

// sealNew makes the secret of a key, or takes the public key that stands for it.
func (h *Hub) sealNew(ctx context.Context, algorithms []string, public string) (keyring.Secret, string, error) {
	const op = "key.secret"
	secret := keyring.NewSecret(secretBytes)
	wants := slices.Contains(algorithms, keyring.StandardWebhooksV1a)
	switch raw, err := base64.StdEncoding.DecodeString(public); {
	case wants && public == "":
		return nil, "", fault.New(op, fault.Invalid, "no_public_key", "a key for %s needs the public key of its producer", keyring.StandardWebhooksV1a)
	case !wants && public != "":
		return nil, "", fault.New(op, fault.Invalid, "no_public_key", "a public key is for %s alone; the others sign with a secret that the mesh makes", keyring.StandardWebhooksV1a)
	case err != nil:
		return nil, "", fault.New(op, fault.Invalid, "public_key", "the public key is not base64 of the 32 bytes of an Ed25519 key")
	case wants:
		secret = raw
	}
	if err := keyring.CheckSecret(algorithms, secret); err != nil {
		return nil, "", err
	}
	sealed, err := h.opts.Identity.Sealer.Seal(ctx, secret.Bytes())
	if wants {
		return nil, sealed, err // there is nothing to hand out
	}
	return secret, sealed, err
}

func (h *Hub) issued(k *keyring.Key, secret keyring.Secret, waiting map[string]string) *IssuedKey {
	return &IssuedKey{KeyView: viewKey(k, "", h.opts.Now()), Secret: base64.StdEncoding.EncodeToString(secret.Bytes()), Waiting: waiting}
}

// ActivateKey makes a pending key active.
func (h *Hub) ActivateKey(ctx context.Context, kid, by string) (*KeyView, error) {
	const op = "key.activate"
	key, tenant, err := h.keyOf(op, kid)
	if err != nil {
		return nil, err
	}
	if s := key.StateAt(h.opts.Now()); s != keyring.Pending && s != keyring.Active {
		return nil, fault.New(op, fault.Conflict, "key_"+string(s), "key %s is %s: a key only moves forward", kid, s)
	}
	if key.State == keyring.Pending {
		key = key.Activated(h.opts.Now().UTC())
		if err := h.moveKey(ctx, key, by); err != nil {
			return nil, err
		}
		h.confirmed(ctx, tenant, key, nil)
	}
	v := viewKey(key, "", h.opts.Now())
	return &v, nil
}

// keyOf finds a key of an active tenant in a region that may write.
func (h *Hub) keyOf(op, kid string) (*keyring.Key, *accounts.Tenant, error) {
	if err := h.requireOpen(op); err != nil {
		return nil, nil, err
	}
	key, ok := h.State().Keys[kid]
	if !ok {
		return nil, nil, fault.New(op, fault.NotFound, "no_such_key", "there is no key %q", kid)
	}
	tenant, ok := h.State().Tenant(key.Tenant)
	if !ok {
		return nil, nil, noSuchTenant(op, key.Tenant)
	}
	return key, tenant, nil
}

// Revocation tells what revoking a key does.
type Revocation struct {
	Kid    string        `json:"kid"`
	Tenant string        `json:"tenant"`
	DryRun bool          `json:"dry_run"`
	Was    keyring.State `json:"was"`
	// Left are the usable keys that the producer still has.
	Left    []string          `json:"left"`
	Waiting map[string]string `json:"waiting,omitempty"` // regions that have not confirmed, with what they said
}

// RevokeKey ends a key everywhere and for good, whatever other regions do to it meanwhile. It returns once every
// region has confirmed, or confirmWait has passed: a region that is cut off follows by itself. A revoked
// key may be revoked again, which asks the regions again.
func (h *Hub) RevokeKey(ctx context.Context, kid string, dryRun bool, by string) (*Revocation, error) {
	key, tenant, err := h.keyOf("key.revoke", kid)
	if err != nil {
		return nil, err
	}
	now := h.opts.Now()
	r := &Revocation{Kid: kid, Tenant: key.Tenant, DryRun: dryRun, Was: key.StateAt(now), Left: []string{}}
	for _, k := range h.State().TenantKeys(key.Tenant) {
		if k.Kid != kid && k.Producer == key.Producer && k.Usable(now) == nil {
			r.Left = append(r.Left, k.Kid)
		}
	}
	if dryRun {
		return r, nil
	}
	if key.State != keyring.Revoked {
		key = key.Dead()
		if err := h.moveKey(ctx, key, by); err != nil {
			return nil, err
		}
	}
	r.Waiting = h.confirmed(ctx, tenant, key, nil)
	return r, nil
}
