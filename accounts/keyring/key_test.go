package keyring_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

func TestKeyUsable(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name  string
		key   keyring.Key
		code  string
		topic string
	}{
		{"active", keyring.Key{State: keyring.Active}, "", ""},
		{"pending", keyring.Key{State: keyring.Pending}, "key_pending", ""},
		{"revoked", keyring.Key{State: keyring.Revoked}, "key_revoked", ""},
		{"revoked within a grace period", keyring.Key{State: keyring.Revoked, GraceUntil: now.Add(time.Hour)}, "key_revoked", ""},
		{"grace", keyring.Key{State: keyring.Grace, GraceUntil: now.Add(time.Second)}, "", ""},
		{"grace, last instant", keyring.Key{State: keyring.Grace, GraceUntil: now}, "", ""},
		{"grace over", keyring.Key{State: keyring.Grace, GraceUntil: now.Add(-1)}, "key_expired", ""},
		{"grace without an end", keyring.Key{State: keyring.Grace}, "key_expired", ""},
		{"no state", keyring.Key{}, "key_invalid", ""},
		{"unknown state", keyring.Key{State: "frozen"}, "key_invalid", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.key.Usable(now)
			if tc.code == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if fault.KindOf(err) != fault.Unauthenticated || fault.CodeOf(err) != tc.code {
				t.Errorf("got %v (%s), want %s", err, fault.CodeOf(err), tc.code)
			}
		})
	}
}

func TestKeyScopes(t *testing.T) {
	k := keyring.Key{Algorithms: []string{"weft-v1"}}
	if !k.Allows("weft-v1") || k.Allows("body") || k.Allows("") {
		t.Error("algorithms are not the listed ones")
	}
	if !k.MaySend("bets") {
		t.Error("no topics listed does not mean all")
	}
	k.Topics = []string{"bets"}
	if !k.MaySend("bets") || k.MaySend("kyc") {
		t.Error("topics are not the listed ones")
	}
}

func TestStateRank(t *testing.T) {
	order := []keyring.State{"unknown", keyring.Pending, keyring.Active, keyring.Grace, keyring.Revoked}
	for i := range order[1:] {
		if order[i].Rank() >= order[i+1].Rank() {
			t.Errorf("%s does not rank below %s", order[i], order[i+1])
		}
	}
}

func TestValidKid(t *testing.T) {
	for s, want := range map[string]bool{
		"acme-1": true, "A_z9": true, "x": true, strings.Repeat("k", 64): true,
		"": false, strings.Repeat("k", 65): false, "a b": false, "a.b": false, "a\n": false, "ä": false, "a/b": false, "a>": false, "a*": false,
	} {
		if got := keyring.ValidKid(s); got != want {
			t.Errorf("ValidKid(%q) = %v", s, got)
		}
	}
}

func TestKeyJSONNames(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	got, err := json.Marshal(keyring.Key{Kid: "k", Tenant: "acme", Producer: "default", State: keyring.Active,
		Algorithms: []string{"weft-v1"}, Topics: []string{"bets"}, Sealed: "age:x", CreatedAt: at, GraceUntil: at})
	want := `{"kid":"k","tenant":"acme","producer":"default","state":"active","algorithms":["weft-v1"],"topics":["bets"],"sealed":"age:x","created_at":"2026-01-02T03:04:05Z","grace_until":"2026-01-02T03:04:05Z"}`
	if err != nil || string(got) != want {
		t.Errorf("%v\n got %s\nwant %s", err, got, want)
	}
}
