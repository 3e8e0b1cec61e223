package report

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestJSONIsStable(t *testing.T) {
	golden(t, "report.json", written(t, full().WriteJSON))
}

// Members are what programs read: every figure of the summary is at the top level, under the name of its tag.
func TestJSONMembers(t *testing.T) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(written(t, full().WriteJSON)), &members); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"scenario", "title", "mesh", "load", "baseline", "machine", "commit", "began", "took_s", "rounds", "curves", "notes",
	}
	for f := range reflect.TypeFor[Summary]().Fields() {
		want = append(want, f.Tag.Get("json"))
	}
	if len(members) != len(want) {
		t.Errorf("%d members, want %d", len(members), len(want))
	}
	for _, name := range want {
		if members[name] == nil {
			t.Errorf("no member %q", name)
		}
	}
}

func TestJSONOfNothing(t *testing.T) {
	got := written(t, new(Report).WriteJSON)
	for _, want := range []string{`"rounds":[]`, `"notes":[]`, `"accepted_per_s":0`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	if strings.Contains(got, "curves") || strings.Contains(got, "null") {
		t.Errorf("curves or null in %s", got)
	}
}

func TestJSONIsOneLine(t *testing.T) {
	r := full()
	r.Notes = []string{"two\nlines\r\n", "a \u2028 separator"}
	got := written(t, r.WriteJSON)
	if strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "}\n") || strings.ContainsAny(got, "\r\u2028") {
		t.Errorf("not a line: %q", got)
	}
	var back struct {
		Notes []string  `json:"notes"`
		Began time.Time `json:"began"`
	}
	if err := json.Unmarshal([]byte(got), &back); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(back.Notes, r.Notes) {
		t.Errorf("notes are %q", back.Notes)
	}
	if !back.Began.Equal(r.Began) || back.Began.Location() != time.UTC {
		t.Errorf("began %v, want %v in UTC", back.Began, r.Began)
	}
}

func TestJSONOfMonsters(t *testing.T) {
	for name, f := range monsters() {
		r := full()
		filled(reflect.ValueOf(r), f)
		var back struct {
			Accepted float64 `json:"accepted_per_s"`
			Curves   []struct {
				Points []Point `json:"points"`
			} `json:"curves"`
		}
		if err := json.Unmarshal([]byte(written(t, r.WriteJSON)), &back); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := rounded(f, 0); back.Accepted != want {
			t.Errorf("%s: %v accepted, want %v", name, back.Accepted, want)
		}
		if got, want := back.Curves[0].Points[0].X, significant(f, 6); got != want {
			t.Errorf("%s: a point at %v, want %v", name, got, want)
		}
	}
}
