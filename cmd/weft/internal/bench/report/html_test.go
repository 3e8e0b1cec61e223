package report

import (
	"encoding/xml"
	"errors"
	"html"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	svgs     = regexp.MustCompile(`(?s)<svg class="plot".*?</svg>`)
	policies = regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`)
	styles   = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	scripts  = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
)

// The policy lets this style and this script in, by their digests, and nothing else: what is escaped badly does not run.
func TestPolicy(t *testing.T) {
	got := written(t, full().WriteHTML)
	policy := policies.FindStringSubmatch(got)
	style, script := styles.FindAllStringSubmatch(got, -1), scripts.FindAllStringSubmatch(got, -1)
	if policy == nil || len(style) != 1 || len(script) != 1 {
		t.Fatalf("policy %q, %d styles, %d scripts", policy, len(style), len(script))
	}
	want := "default-src 'none'; style-src '" + digest(style[0][1]) + "'; script-src '" + digest(script[0][1]) + "'; base-uri 'none'; form-action 'none'"
	if got := html.UnescapeString(policy[1]); got != want {
		t.Errorf("the policy is %s, want %s", got, want)
	}
	if strings.Contains(got, " style=") || regexp.MustCompile(` on[a-z]+=`).MatchString(got) {
		t.Error("style or handler attributes, which the policy forbids")
	}
}

func TestPageNeedsNothingElse(t *testing.T) {
	got := written(t, full().WriteHTML)
	for _, s := range []string{"src=", "href=", "url(", "@import", "fetch(", "<link", "<iframe"} {
		if strings.Contains(got, s) {
			t.Errorf("%s in the page", s)
		}
	}
	if addresses := strings.Count(got, "://"); addresses != strings.Count(pageScript, "http://www.w3.org/2000/svg") {
		t.Errorf("%d addresses in the page", addresses)
	}
}

func TestPageEscapes(t *testing.T) {
	const evil = `"'></title></style></svg><script>alert(1)</script><img src=x onerror=alert(2)>`
	r := full()
	strs := []*string{
		&r.Scenario, &r.Title, &r.Mesh, &r.Load, &r.Baseline, &r.Machine, &r.Commit, &r.Series[0].Phase, &r.Series[29].Phase,
		&r.Curves[0].Name, &r.Curves[0].X, &r.Curves[0].Y, &r.Notes[0],
	}
	for i, s := range strs {
		*s = evil + " in place " + strconv.Itoa(i) + "."
	}
	got := written(t, r.WriteHTML)
	if n := strings.Count(got, "<script"); n != 1 {
		t.Errorf("%d scripts", n)
	}
	if strings.Contains(got, "<img") || strings.Contains(got, "></title></style>") {
		t.Error("markup of a name is markup of the page")
	}
	shown := html.UnescapeString(got)
	for i, s := range strs {
		if !strings.Contains(shown, *s) {
			t.Errorf("place %d is not shown", i)
		}
	}
}

func TestPageOfNothing(t *testing.T) {
	got := written(t, new(Report).WriteHTML)
	for _, s := range []string{"<figure", `class="tiles"`, "<dl", "<h2"} {
		if strings.Contains(got, s) {
			t.Errorf("%s in a page of nothing", s)
		}
	}
	if !strings.Contains(got, "Nothing was measured.") || !strings.HasSuffix(got, "</html>\n") {
		t.Errorf("the page is %s", got)
	}
}

func TestPageOfMonsters(t *testing.T) {
	for name, f := range monsters() {
		r := full()
		filled(reflect.ValueOf(r), f)
		got := styles.ReplaceAllString(scripts.ReplaceAllString(written(t, r.WriteHTML), ""), "")
		for _, s := range []string{"NaN", "Inf", "ZgotmplZ"} {
			if strings.Contains(policies.ReplaceAllString(got, ""), s) {
				t.Errorf("%s: %s in the page", name, s)
			}
		}
	}
}

// Every plot is a well-formed image with a name and a description, and with its numbers below it.
func TestPlotsAreAccessible(t *testing.T) {
	r := full()
	page := written(t, r.WriteHTML)
	plots := svgs.FindAllString(page, -1)
	figures := r.figures()
	if len(plots) != len(figures) {
		t.Fatalf("%d plots of %d figures", len(plots), len(figures))
	}
	for i, plot := range plots {
		f := figures[i]
		elements, text := parsed(t, plot)
		if elements["title"] < 1 || elements["desc"] != 1 || f.Title == "" || f.Desc == "" {
			t.Errorf("%s: no title or description", f.Title)
		}
		for _, want := range append(f.XTicks, f.YTicks...) {
			if !strings.Contains(text, want.Label+"\n") {
				t.Errorf("%s: no label %s", f.Title, want.Label)
			}
		}
		if f.XLabel == "" || f.YLabel == "" || !strings.Contains(text, f.XLabel) || !strings.Contains(text, f.YLabel) {
			t.Errorf("%s: axes without units", f.Title)
		}
		for _, reference := range []string{
			`aria-labelledby="` + f.ID + `-title"`, `<title id="` + f.ID + `-title">`,
			`aria-describedby="` + f.ID + `-desc"`, `<desc id="` + f.ID + `-desc">`,
		} {
			if strings.Count(page, reference) != 1 {
				t.Errorf("%s: not one %s", f.Title, reference)
			}
		}
	}
	rows := 0
	for _, f := range figures {
		rows += len(f.Table.Rows)
	}
	if got := strings.Count(page, "<tr data-x="); got != rows || strings.Count(page, "<details>") != len(figures) {
		t.Errorf("%d rows below the plots, want %d", got, rows)
	}
}

// parsed counts the elements of a document by name, and has its texts, a line each.
func parsed(t *testing.T, document string) (elements map[string]int, text string) {
	t.Helper()
	elements = map[string]int{}
	var b strings.Builder
	decoder := xml.NewDecoder(strings.NewReader(document))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return elements, b.String()
		}
		if err != nil {
			t.Fatalf("%v in %s", err, document)
		}
		switch token := token.(type) {
		case xml.StartElement:
			elements[token.Name.Local]++
		case xml.CharData:
			b.Write(token)
			b.WriteByte('\n')
		}
	}
}

func TestImageOfAKnownSeries(t *testing.T) {
	page := written(t, full().WriteHTML)
	curve, _ := parsed(t, svgs.FindAllString(page, -1)[6])
	if curve["circle"] != 3 {
		t.Errorf("%d marks of a curve of 3 points", curve["circle"])
	}
	bars, _ := parsed(t, svgs.FindAllString(page, -1)[0])
	if bars["rect"] != 6 {
		t.Errorf("%d bars of 3 rounds", bars["rect"])
	}
	paths := regexp.MustCompile(`class="line c0" d="([^"]*)"`).FindAllStringSubmatch(page, -1)
	if got := spots(paths[1][1]); got != 30 { // after the percentiles comes the rate
		t.Errorf("%d points of 30 samples", got)
	}
}

func TestTilesOfWhatWasMeasured(t *testing.T) {
	r := full()
	r.Summary = Summary{AcceptedPerSecond: 5}
	var labels []string
	for _, tile := range r.tiles() {
		labels = append(labels, tile.Label)
	}
	if got, want := strings.Join(labels, ", "), "acknowledged events/s, verified"; got != want {
		t.Errorf("tiles %s, want %s", got, want)
	}
	if page := written(t, full().WriteHTML); !strings.Contains(page, `9.41 <small>ms</small>`) || !strings.Contains(page, "✗ faults") {
		t.Error("tiles without unit or value in the page")
	}
	if got := full().tiles()[3]; got.Class != "bad" || !strings.Contains(got.More, "1,234 lost") {
		t.Errorf("faults are %+v", got)
	}
}
