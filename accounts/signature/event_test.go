package signature_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/accounts/signature"
	"github.com/weft-mesh/weft/streams/fault"
)

var (
	eventSeed   = []byte("0123456789abcdef0123456789abcdef")
	eventSecret = []byte("a secret of an event's producer!")
	signedAt    = time.Unix(1767323045, 0)
)

func eventKey(t testing.TB, algo string) signature.EventKey {
	t.Helper()
	if algo == signature.EventEd25519 {
		return signature.EventPrivateKey(ed25519.NewKeyFromSeed(eventSeed))
	}
	key, err := signature.EventHMACKey(eventSecret)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func always(key signature.EventKey) func(string) (signature.EventKey, error) {
	return func(string) (signature.EventKey, error) { return key, nil }
}

// eventVector is one case of event-v1.json.
type eventVector struct {
	Comment string `json:"comment"`
	Secret  string `json:"secret_base64,omitempty"`
	Private string `json:"private_key_base64,omitempty"` // the seed
	Public  string `json:"public_key_base64,omitempty"`
	Event   string `json:"event_base64"`
	Signed  string `json:"signed_base64,omitempty"`
	Valid   bool   `json:"valid"`
}

// goodEvents are the events from which the vectors are made: the signed text is written here, not computed.
func goodEvents(t *testing.T) (out []eventVector) {
	bodies := []struct{ comment, before, sig, after string }{
		{"the last member", `{"event_id":"e-1","payload":{"n":1}`, `,"sig":SIG`, `}`},
		{"the first member", `{`, `"sig":SIG,`, `"event_id":"e-1","payload":{"n":1}}`},
		{"in the middle, with white space", "{ \"event_id\": \"e-1\" ", ",\n \"sig\" : SIG", " ,\t\"payload\": {} }"},
		{"alone", `{`, `"sig":SIG`, `}`},
		{"a payload with a sig of its own", `{"payload":{"sig":{"algo":"none"}}`, `,"sig":SIG`, `,"ctx":{}}`},
		{"an escaped name", `{"event_id":"e-1"`, `,"s\u0069g":SIG`, `}`},
	}
	for _, algo := range []string{signature.EventEd25519, signature.EventHMAC} {
		for _, b := range bodies {
			content := "weft-event-v1\n" + algo + "\nevents-1\n1767323045\n" + b.before + b.after
			v := eventVector{Comment: algo + ": " + b.comment, Signed: b64([]byte(content)), Valid: true}
			var mac []byte
			if algo == signature.EventEd25519 {
				private := ed25519.NewKeyFromSeed(eventSeed)
				v.Private, v.Public = b64(eventSeed), b64(private.Public().(ed25519.PublicKey))
				mac = ed25519.Sign(private, []byte(content))
			} else {
				v.Secret = b64(eventSecret)
				m := hmac.New(sha256.New, eventSecret)
				m.Write([]byte(content))
				mac = m.Sum(nil)
			}
			sig := `{"algo":"` + algo + `","kid":"events-1","ts":1767323045,"mac":"` + b64(mac) + `"}`
			v.Event = b64([]byte(b.before + strings.Replace(b.sig, "SIG", sig, 1) + b.after))
			out = append(out, v)
		}
	}
	return out
}

// eventMutations are a good vector with one thing changed, the signature kept.
func eventMutations(t *testing.T, good eventVector) (out []eventVector) {
	text := string(unb64(t, good.Event))
	add := func(comment, event string, valid bool) {
		v := good
		v.Comment, v.Event, v.Signed, v.Valid = good.Comment+": "+comment, b64([]byte(event)), "", valid
		if event == text {
			t.Fatalf("%s changes nothing", v.Comment)
		}
		out = append(out, v)
	}
	replace := func(comment, what, by string, valid bool) {
		if strings.Contains(text, what) {
			add(comment, strings.Replace(text, what, by, 1), valid)
		}
	}
	replace("another id", `e-1`, `e-2`, false)
	replace("another time", `1767323045`, `1767323046`, false)
	replace("another kid", `events-1`, `events-2`, false)
	replace("another member in sig", `"ts":`, `"x":1,"ts":`, false)
	replace("white space in the event", `{`, `{ `, false)
	replace("white space in sig", `"kid":`, `"kid": `, true)
	add("a member more", strings.TrimSuffix(strings.TrimRight(text, " "), "}")+`,"more":1}`, false)
	add("white space around the event", "\n"+text+" \n", true)
	other := map[string]string{"ed25519": "hmac-sha256", "hmac-sha256": "ed25519"}
	for from, to := range other {
		replace("another algorithm", `"algo":"`+from+`"`, `"algo":"`+to+`"`, false)
	}
	return out
}

func (v *eventVector) key(t *testing.T) signature.EventKey {
	var key signature.EventKey
	var err error
	if v.Public != "" {
		key, err = signature.EventPublicKey(unb64(t, v.Public))
	} else {
		key, err = signature.EventHMACKey(unb64(t, v.Secret))
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestEventVectors(t *testing.T) {
	var want []eventVector
	for _, g := range goodEvents(t) {
		want = append(append(want, g), eventMutations(t, g)...)
	}
	syncVectors(t, "event-v1", []string{
		"signed_base64 is what is signed: four lines, then the event with the member sig cut out; present in unchanged vectors",
		"every other vector differs from a good one in one thing; valid says whether it must be accepted",
	}, want)
	for _, v := range want {
		sig, err := signature.VerifyEvent(unb64(t, v.Event), always(v.key(t)))
		if (err == nil) != v.Valid {
			t.Errorf("%s: %v", v.Comment, err)
		}
		if err == nil && (sig.Kid != "events-1" || sig.TS != signedAt.Unix()) {
			t.Errorf("%s: %+v", v.Comment, sig)
		}
		if err != nil && fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: kind %s", v.Comment, fault.KindOf(err))
		}
	}
}

func TestVerifyEventSaysWhatIsWrong(t *testing.T) {
	key := eventKey(t, signature.EventEd25519)
	signed, err := signature.SignEvent(key, "k", signedAt, []byte(`{"event_id":"e"}`))
	if err != nil {
		t.Fatal(err)
	}
	for event, code := range map[string]string{
		`{"event_id":"e"}`:       "sig_missing",
		`[]`:                     "sig_malformed",
		`{"sig":1}`:              "sig_malformed",
		`{"sig":{},"sig":{}}`:    "sig_malformed",
		string(signed[:20]):      "sig_malformed",
		string(signed) + "{}":    "sig_malformed",
		`{"sig":{"algo":"a b"}}`: "sig_malformed",
		strings.Replace(string(signed), `"k"`, `"a b"`, 1):                      "sig_malformed",
		strings.Replace(string(signed), `"ed25519"`, `"hmac-sha256"`, 1):        "sig_algorithm",
		strings.Replace(string(signed), `"e"`, `"f"`, 1):                        "sig_wrong",
		strings.Replace(string(signed), `=="`, `="`, 1):                         "sig_wrong",
		string(signed[:len(signed)-6]) + "\\n" + string(signed[len(signed)-6:]): "sig_wrong",
	} {
		if _, err := signature.VerifyEvent([]byte(event), always(key)); fault.CodeOf(err) != code {
			t.Errorf("%s: %v, want %s", event, err, code)
		}
	}
	unknown := fault.New("test", fault.NotFound, "no_key", "no such key")
	if _, err := signature.VerifyEvent(signed, func(string) (signature.EventKey, error) { return key, unknown }); fault.CodeOf(err) != "no_key" {
		t.Errorf("%v", err)
	}
	if _, err := signature.VerifyEvent(signed, always(signature.EventKey{})); fault.CodeOf(err) != "sig_algorithm" {
		t.Errorf("no key: %v", err)
	}
	if _, err := signature.EventPublicKey(make([]byte, 32)); err == nil {
		t.Error("a point of small order passes")
	}
	public, err := signature.EventPublicKey(ed25519.NewKeyFromSeed(eventSeed).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := signature.SignEvent(public, "k", signedAt, []byte(`{}`)); fault.CodeOf(err) != "public_key" {
		t.Errorf("a public key signs: %v", err)
	}
	if _, err := signature.SignEvent(key, "k", signedAt, signed); fault.CodeOf(err) != "sig_present" {
		t.Errorf("signed twice: %v", err)
	}
}

// Whatever an event's bytes are, what SignEvent makes is right, is the event with one member more, and stops being
// right when any byte outside the signature changes.
func TestSignEvent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members := rapid.MapOfN(rapid.StringMatching(`[a-z"\\{},:é]{1,6}`), rapid.OneOf(
			rapid.Map(rapid.String(), func(s string) any { return s }), rapid.Map(rapid.Int(), func(n int) any { return n })), 0, 5).Draw(t, "members")
		delete(members, "sig")
		raw, err := json.MarshalIndent(members, "", strings.Repeat(" ", rapid.IntRange(0, 2).Draw(t, "indent")))
		if err != nil {
			t.Fatal(err)
		}
		algo := rapid.SampledFrom([]string{signature.EventEd25519, signature.EventHMAC}).Draw(t, "algorithm")
		key := signature.EventPrivateKey(ed25519.NewKeyFromSeed(eventSeed))
		if algo == signature.EventHMAC {
			key, _ = signature.EventHMACKey(eventSecret)
		}
		signed, err := signature.SignEvent(key, "k", signedAt, raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := signature.VerifyEvent(signed, always(key)); err != nil {
			t.Fatalf("%s: %v", signed, err)
		}
		body := bytes.TrimSuffix(raw, []byte("}"))
		if !bytes.HasPrefix(signed, body) {
			t.Fatalf("%s is not %s and a signature", signed, raw)
		}
		if len(body) > 1 {
			changed := bytes.Clone(signed)
			changed[rapid.IntRange(0, len(body)-1).Draw(t, "where")] ^= 1 << rapid.IntRange(0, 6).Draw(t, "bit")
			if _, err := signature.VerifyEvent(changed, always(key)); err == nil {
				t.Fatalf("%s passes for %s", changed, signed)
			}
		}
	})
}
