package schema_test

import (
	"encoding/json"
	"testing"

	"github.com/weft-mesh/weft/streams/fault"
	"github.com/weft-mesh/weft/streams/schema"
)

func TestParseVersion(t *testing.T) {
	for _, s := range []string{"0.0.1", "1.0.0", "10.20.30", "2147483647.0.0"} {
		v, err := schema.ParseVersion(s)
		if err != nil || v.String() != s {
			t.Errorf("%s: got %v, %v", s, v, err)
		}
	}
	for _, s := range []string{"", "1", "1.0", "1.0.0.0", "01.0.0", "1.0.0-rc1", "1.0.0+b", "v1.0.0", "-1.0.0", "+1.0.0", "1..0", "2147483648.0.0", "1.0.x", "1.x.0"} {
		if v, err := schema.ParseVersion(s); fault.CodeOf(err) != "schema_version" || v != (schema.Version{}) {
			t.Errorf("%q: got %v, %v", s, v, err)
		}
	}
}

func TestVersionOrder(t *testing.T) {
	order := []string{"0.9.9", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0"}
	for i, a := range order {
		for j, b := range order {
			v, _ := schema.ParseVersion(a)
			w, _ := schema.ParseVersion(b)
			if got := v.Compare(w); got != min(1, max(-1, i-j)) {
				t.Errorf("%s and %s: got %d", a, b, got)
			}
			if v.NewMajor(w) != (a[0] != b[0]) {
				t.Errorf("%s after %s: got %v", a, b, v.NewMajor(w))
			}
		}
	}
	var v schema.Version
	text, err := json.Marshal(map[string]schema.Version{"v": {Major: 1, Minor: 2}})
	if err != nil || string(text) != `{"v":"1.2.0"}` {
		t.Errorf("got %s, %v", text, err)
	}
	if err := json.Unmarshal([]byte(`"1.2"`), &v); err == nil {
		t.Error("1.2 was read as a version")
	}
}

func document() schema.Document {
	return schema.Document{Subject: "bet.placed", Version: schema.Version{Major: 1}, Language: schema.JSONSchema, Text: []byte(`{"type":"object","maximum":9007199254740993}`)}
}

func TestDocument(t *testing.T) {
	good := document()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for code, change := range map[string]func(*schema.Document){
		"schema_subject":  func(d *schema.Document) { d.Subject = "Bet Placed" },
		"schema_version":  func(d *schema.Document) { d.Version = schema.Version{} },
		"schema_language": func(d *schema.Document) { d.Language = "avro" },
		"schema_message":  func(d *schema.Document) { d.Message = "M" },
		"schema_empty":    func(d *schema.Document) { d.Text = nil },
	} {
		d := document()
		change(&d)
		if err := d.Validate(); fault.CodeOf(err) != code || fault.KindOf(err) != fault.Invalid {
			t.Errorf("got %v, want %s", err, code)
		}
	}
}

func TestHash(t *testing.T) {
	base := document()
	want, err := base.Hash()
	if err != nil || len(want) != 64 {
		t.Fatal(want, err)
	}
	text := string(base.Text)
	for name, c := range map[string]struct {
		change func(*schema.Document)
		same   bool
	}{
		"white space and order": {func(d *schema.Document) { d.Text = []byte(`{ "maximum": 9007199254740993, "type" : "object" }`) }, true},
		"escapes":               {func(d *schema.Document) { d.Text = []byte(`{"type":"\u006fbject","maximum":9007199254740993}`) }, true},
		"subject and version":   {func(d *schema.Document) { d.Subject, d.Version = "other", schema.Version{Major: 2} }, true},
		"a large number":        {func(d *schema.Document) { d.Text = []byte(`{"type":"object","maximum":9007199254740992}`) }, false},
		"another type":          {func(d *schema.Document) { d.Text = []byte(`{"type":"array","maximum":9007199254740993}`) }, false},
		"another language":      {func(d *schema.Document) { d.Language = schema.Protobuf }, false},
	} {
		d := document()
		c.change(&d)
		if got, err := d.Hash(); err != nil || (got == want) != c.same {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
	}
	if string(base.Text) != text {
		t.Error("Hash changed the text")
	}
	a, b := schema.Document{Language: schema.Protobuf, Message: "M", Text: []byte("x")}, schema.Document{Language: schema.Protobuf, Text: []byte("Mx")}
	first, _ := a.Hash()
	if second, _ := b.Hash(); first == second {
		t.Error("the message's name runs into the text")
	}
	bad := document()
	bad.Text = []byte(`{"a":1,"a":2}`)
	if _, err := bad.Hash(); fault.CodeOf(err) != "schema_syntax" {
		t.Errorf("got %v", err)
	}
}

func TestStatus(t *testing.T) {
	all := []schema.Status{"", schema.Draft, schema.Canary, schema.Active, schema.Deprecated, schema.Retired}
	steps := map[[2]schema.Status]bool{
		{"", schema.Draft}: true, {schema.Draft, schema.Canary}: true, {schema.Draft, schema.Active}: true, {schema.Draft, schema.Retired}: true,
		{schema.Canary, schema.Active}: true, {schema.Canary, schema.Draft}: true, {schema.Canary, schema.Retired}: true,
		{schema.Active, schema.Deprecated}: true, {schema.Deprecated, schema.Active}: true, {schema.Deprecated, schema.Retired}: true,
	}
	for _, from := range all {
		for _, to := range all {
			if err := from.May(to); (err == nil) != steps[[2]schema.Status{from, to}] {
				t.Errorf("%q to %q: got %v", from, to, err)
			}
		}
		if from != "" {
			if s, err := schema.ParseStatus(string(from)); err != nil || s != from {
				t.Errorf("%q: got %v %v", from, s, err)
			}
		}
	}
	for _, s := range []string{"", "Active", "gone"} {
		if _, err := schema.ParseStatus(s); fault.CodeOf(err) != "schema_status" {
			t.Errorf("%q: got %v", s, err)
		}
	}
	if err := schema.Status("gone").May(schema.Draft); fault.KindOf(err) != fault.Invalid {
		t.Errorf("got %v", err)
	}
	if schema.Draft.Accepts() || schema.Canary.Enforced() || !schema.Canary.Accepts() || !schema.Deprecated.Enforced() || schema.Retired.Accepts() {
		t.Error("a status that does what another does")
	}
}
