package keyring_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

// The clock alone moves a key on: to active at ActiveFrom, out of its grace period after GraceUntil.
func TestKeyFollowsTheClock(t *testing.T) {
	at := time.Date(2026, 5, 1, 10, 0, 0, 0, time.UTC)
	waits := keyring.Key{Kid: "new", State: keyring.Pending, ActiveFrom: at}
	leaves := keyring.Key{Kid: "old", State: keyring.Grace, GraceUntil: at}
	for _, step := range []struct {
		offset      time.Duration
		fresh, aged string
	}{
		{-1, "key_pending", ""}, {0, "", ""}, {1, "", "key_expired"},
	} {
		for k, want := range map[*keyring.Key]string{&waits: step.fresh, &leaves: step.aged} {
			err := k.Usable(at.Add(step.offset))
			if want == "" && err != nil || want != "" && fault.CodeOf(err) != want {
				t.Errorf("%s at %+dns: %v, want %q", k.Kid, step.offset, err, want)
			}
		}
	}
	if after := at.Add(1); waits.StateAt(after) != keyring.Active || leaves.StateAt(after) != keyring.Revoked {
		t.Error("the states do not follow")
	}
}

func anyKey(t *rapid.T) *keyring.Key {
	at := func(label string) time.Time {
		if n := rapid.Int64Range(0, 3).Draw(t, label); n > 0 {
			return time.Unix(n, 0)
		}
		return time.Time{}
	}
	return &keyring.Key{
		Kid: "k", Tenant: rapid.SampledFrom([]string{"acme", "globex"}).Draw(t, "tenant"),
		State:      rapid.SampledFrom([]keyring.State{"", keyring.Pending, keyring.Active, keyring.Grace, keyring.Revoked}).Draw(t, "state"),
		ActiveFrom: at("from"), GraceUntil: at("until"),
	}
}

// Compare is a total preorder, so that a set of records has one greatest class whatever the order of arrival;
// a revoked record is in it when there is one.
func TestCompareIsATotalPreorder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := anyKey(t), anyKey(t), anyKey(t)
		if a.Compare(a) != 0 || a.Compare(b) != -b.Compare(a) {
			t.Fatalf("not antisymmetric:\n%+v\n%+v", a, b)
		}
		if a.Compare(b) >= 0 && b.Compare(c) >= 0 && a.Compare(c) < 0 {
			t.Fatalf("not transitive:\n%+v\n%+v\n%+v", a, b, c)
		}
		if (a.State == keyring.Revoked) != (b.State == keyring.Revoked) && (a.Compare(b) > 0) != (a.State == keyring.Revoked) {
			t.Fatalf("revoked does not win:\n%+v\n%+v", a, b)
		}
	})
}

// Every way of moving a key makes a record that is further than the one it was made from.
func TestMovesGoForward(t *testing.T) {
	now := time.Unix(1000, 0)
	k := &keyring.Key{Kid: "k", Tenant: "acme", State: keyring.Pending, Sealed: "x:y:z", Topics: []string{"bets"}, Rotation: 10, GraceDays: 2, CreatedAt: now}
	planned := *k
	planned.ActiveFrom = now.Add(time.Hour)
	active := planned.Activated(now)
	grace := active.Replaced(now.Add(time.Hour))
	sooner := grace.Replaced(now)
	order := []*keyring.Key{k, &planned, active, grace, sooner, sooner.Dead()}
	for i := range order[1:] {
		if order[i+1].Compare(order[i]) <= 0 {
			t.Errorf("step %d goes back:\n%+v\n%+v", i, order[i], order[i+1])
		}
	}
	if dead := sooner.Dead(); dead.Sealed != "" || k.Sealed == "" {
		t.Error("the secret outlives the revocation, or went from the record before")
	}
	if !active.ActiveFrom.Equal(now) || !active.Due().Equal(now.Add(240*time.Hour)) || active.GracePeriod() != 48*time.Hour {
		t.Errorf("active since %s, due at %s, grace of %s", active.ActiveFrom, active.Due(), active.GracePeriod())
	}
	plain := keyring.Key{CreatedAt: now}
	if !plain.Due().Equal(now.Add(45*24*time.Hour)) || plain.GracePeriod() != 7*24*time.Hour {
		t.Error("the defaults are not 45 and 7 days")
	}
	next := grace.Successor("k2", "s", now)
	if next.State != keyring.Pending || next.Replaces != "k" || !next.ActiveFrom.IsZero() || !next.GraceUntil.IsZero() ||
		next.Rotation != 10 || len(next.Topics) != 1 || next.Tenant != "acme" {
		t.Errorf("the successor is %+v", next)
	}
}
