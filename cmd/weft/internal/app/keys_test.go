package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/hub"
	"github.com/weft-mesh/weft/streams/streamtest"
)

// keyMesh is a pair with a relay in each region and a producer that may sign with any key.
type keyMesh struct {
	*pair
	relays map[string]*Relay
	http   *http.Client
	sent   atomic.Int64
}

func newKeyMesh(t *testing.T) *keyMesh {
	t.Helper()
	m := &keyMesh{pair: newPair(t, time.Second), relays: map[string]*Relay{}}
	m.relays["eu"] = m.relay
	m.relays["us"] = m.startRelay("us", "r2")
	cert, err := tls.X509KeyPair([]byte(m.bundle.ClientCert), []byte(m.bundle.ClientKey))
	must(t, err)
	pem, err := os.ReadFile(filepath.Join(m.dir, "pki", "ca.pem"))
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}}, ForceAttemptHTTP2: true}
	m.http = &http.Client{Transport: transport, Timeout: 10 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	secret, err := base64.StdEncoding.DecodeString(m.bundle.Secret)
	must(t, err)
	for region := range m.relays { // a relay that has just begun answers 503 until its guard has read the journal
		streamtest.Eventually(t, 30*time.Second, func() (bool, string) {
			status, code := m.postOnce(region, &held{m.bundle.Kid, secret})
			return status == http.StatusAccepted, fmt.Sprintf("%s: %d %s", region, status, code)
		})
	}
	return m
}

// held is what a producer was handed.
type held struct {
	kid    string
	secret []byte
}

// soon bounds the wait for a region that cannot answer.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	t.Cleanup(cancel)
	return ctx
}

func handed(t testing.TB, k *hub.IssuedKey) *held {
	t.Helper()
	secret, err := base64.StdEncoding.DecodeString(k.Secret)
	must(t, err)
	return &held{k.Kid, secret}
}

// post sends events until one is answered with more than that the replay guard cannot take it now, which says
// nothing of the key, and returns the status with the code of a refusal.
func (m *keyMesh) post(region string, k *held) (status int, code string) {
	for range 20 {
		if status, code = m.postOnce(region, k); code != "guard_unavailable" {
			break
		}
	}
	return status, code
}

func (m *keyMesh) postOnce(region string, k *held) (int, string) {
	n := m.sent.Add(1)
	body := remoteEvent(fmt.Sprintf("k-%d", n), "plain.x")
	req, err := http.NewRequest("POST", "https://"+m.relays[region].Addr()+"/v1/events", bytes.NewReader(body))
	if err != nil {
		return 0, err.Error()
	}
	req.Header.Set("Content-Type", "application/json")
	signature.SignHTTP(k.secret, req, k.kid, fmt.Sprintf("r-%d", n), time.Now(), body)
	resp, err := m.http.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	var p struct{ Code string }
	_ = json.Unmarshal(raw, &p)
	return resp.StatusCode, p.Code
}

func (m *keyMesh) accepted(region string, k *held) {
	m.t.Helper()
	if status, code := m.post(region, k); status != http.StatusAccepted {
		m.t.Errorf("%s in %s: %d %s", k.kid, region, status, code)
	}
}

func (m *keyMesh) refused(region string, k *held, want string) {
	m.t.Helper()
	if status, code := m.post(region, k); status != http.StatusUnauthorized || code != want {
		m.t.Errorf("%s in %s: %d %s, want %s", k.kid, region, status, code, want)
	}
}

func (m *keyMesh) add(region string) *held {
	m.t.Helper()
	k, err := m.hubs[region].AddKey(m.t.Context(), hub.KeySpec{Tenant: "acme", Active: true}, "test")
	must(m.t, err)
	if len(k.Waiting) > 0 {
		m.t.Fatalf("not known in %v", k.Waiting)
	}
	return handed(m.t, k)
}

// A key that is revoked in one region is refused by the relays of all within two seconds, and from then on.
func TestRevocationReachesEveryRelay(t *testing.T) {
	m := newKeyMesh(t)
	var worst time.Duration
	for i := range 20 {
		at := []string{"eu", "us"}[i%2]
		k := m.add(at)
		m.accepted("eu", k)
		m.accepted("us", k)
		begin := time.Now()
		r, err := m.hubs[at].RevokeKey(t.Context(), k.kid, false, "test")
		must(t, err)
		if len(r.Waiting) > 0 {
			t.Fatalf("not confirmed: %v", r.Waiting)
		}
		took := time.Since(begin)
		worst = max(worst, took)
		m.refused("eu", k, "key_revoked") // at once: every relay has confirmed
		m.refused("us", k, "key_revoked")
		if took > 2*time.Second {
			t.Errorf("revoked in %s after %s", at, took)
		}
	}
	t.Logf("confirmed by every relay within %s at worst of 20", worst.Round(time.Millisecond))
}

// Whatever a region that is cut off does to a key, the revocation that it did not hear of wins.
func TestRevocationWinsOverACutOffRegion(t *testing.T) {
	m := newKeyMesh(t)
	for name, change := range map[string]func(*held) error{
		"rotation": func(k *held) error {
			_, err := m.hubs["us"].RotateKey(soon(t), k.kid, hub.RotateSpec{Without: []string{"eu"}}, "test")
			return err
		},
		"planned rotation": func(k *held) error {
			_, err := m.hubs["us"].RotateKey(soon(t), k.kid, hub.RotateSpec{At: time.Now().Add(time.Hour)}, "test")
			return err
		},
	} {
		k := m.add("eu")
		m.accepted("us", k)
		m.cutter.Cut()
		r, err := m.hubs["eu"].RevokeKey(soon(t), k.kid, false, "test")
		must(t, err)
		if r.Waiting["us"] == "" || r.Waiting["eu"] != "" {
			t.Errorf("%s: waiting for %v, want us alone", name, r.Waiting)
		}
		m.refused("eu", k, "key_revoked")
		must(t, change(k))
		m.accepted("us", k) // it does not know
		m.cutter.Heal()
		healed := time.Now()
		streamtest.Eventually(t, 30*time.Second, func() (bool, string) {
			eu, us := m.hubs["eu"].State().Keys[k.kid], m.hubs["us"].State().Keys[k.kid]
			status, code := m.post("us", k)
			return eu.State == keyring.Revoked && us.State == keyring.Revoked && code == "key_revoked", fmt.Sprintf("%s: %s in eu, %s in us, relay says %d %s", name, eu.State, us.State, status, code)
		})
		t.Logf("%s: revoked in the region that was cut off %s after it is back", name, time.Since(healed).Round(time.Millisecond))
	}
}

// A rotation that a region cannot confirm changes nothing for the key in use, and goes on where it stood.
func TestRotationWaitsForEveryRegion(t *testing.T) {
	m := newKeyMesh(t)
	k := m.add("eu")
	m.cutter.Cut()
	if _, err := m.hubs["eu"].RotateKey(soon(t), k.kid, hub.RotateSpec{}, "test"); err == nil {
		t.Fatal("rotated although a region does not know the new key")
	}
	if s := m.hubs["eu"].State().Keys[k.kid].State; s != keyring.Active {
		t.Errorf("the old key is %s", s)
	}
	m.cutter.Heal()
	next, err := m.hubs["eu"].RotateKey(t.Context(), k.kid, hub.RotateSpec{}, "test")
	must(t, err)
	again, err := m.hubs["us"].RotateKey(t.Context(), k.kid, hub.RotateSpec{}, "test") // the answer was lost: asked again, elsewhere
	must(t, err)
	if again.Kid != next.Kid || again.Secret != next.Secret {
		t.Errorf("a rotation asked for twice made %s and %s", next.Kid, again.Kid)
	}
	for _, region := range []string{"eu", "us"} {
		m.accepted(region, k)
		m.accepted(region, handed(t, next))
	}
	if n := len(m.hubs["eu"].State().TenantKeys("acme")); n != 3 {
		t.Errorf("%d keys, want the first, the old and its successor", n)
	}
}

// chain is one key on its way through many rotations.
type chain struct {
	current atomic.Pointer[held]
	region  string // where its producer sends to
	done    chan struct{}
}

// rotated is a key that was replaced, and until when it is good.
type rotated struct {
	key   *held
	until time.Time
}

// produce signs with the newest key until the chain is done, and insists that every request is accepted.
func (m *keyMesh) produce(c *chain, good *atomic.Int64) {
	for {
		select {
		case <-c.done:
			return
		default:
		}
		if status, code := m.post(c.region, c.current.Load()); status != http.StatusAccepted {
			m.t.Errorf("a valid request was refused in %s: %d %s", c.region, status, code)
			return
		}
		good.Add(1)
	}
}

// rotate replaces the chain's key n times, each time as soon as the last rotation is complete.
func (m *keyMesh) rotate(c *chain, n int, old chan<- rotated) {
	defer close(c.done)
	grace := accounts.Duration(time.Second)
	for range n {
		was := c.current.Load()
		next, err := m.hubs["eu"].RotateKey(m.t.Context(), was.kid, hub.RotateSpec{Grace: &grace}, "test")
		if err != nil {
			m.t.Error(err)
			return
		}
		c.current.Store(handed(m.t, next))
		old <- rotated{was, m.hubs["eu"].State().Keys[was.kid].GraceUntil}
	}
}

// TestThousandRotations rotates keys a thousand times in all while their producers sign with the newest, in both
// regions: none of their requests is refused, and no key is good after its grace period.
func TestThousandRotations(t *testing.T) {
	const rotations, chains = 1000, 4
	m := newKeyMesh(t)
	var good, late atomic.Int64
	old := make(chan rotated, rotations)
	var work, checks sync.WaitGroup
	begin := time.Now()
	for i := range chains {
		c := &chain{region: []string{"eu", "us"}[i%2], done: make(chan struct{})}
		c.current.Store(m.add("eu"))
		work.Go(func() { m.produce(c, &good) })
		work.Go(func() { m.rotate(c, rotations/chains, old) })
	}
	for range 4 {
		checks.Go(func() {
			for r := range old {
				<-time.After(time.Until(r.until.Add(time.Millisecond)))
				m.refused([]string{"eu", "us"}[late.Add(1)%2], r.key, "key_expired")
			}
		})
	}
	work.Wait()
	took := time.Since(begin)
	close(old)
	checks.Wait()
	t.Logf("%d rotations in %s, %d requests accepted, %d keys refused after their grace period", rotations, took.Round(time.Millisecond), good.Load(), late.Load())
	if good.Load() < rotations || late.Load() != rotations {
		t.Errorf("%d requests and %d keys looked at prove too little", good.Load(), late.Load())
	}
}
