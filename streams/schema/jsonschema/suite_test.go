package jsonschema_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/streams/schema/jsonschema"
)

// folder holds public test data; WEFT_VECTORS names it.
func folder(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("WEFT_VECTORS")
	if dir == "" {
		t.Skip("WEFT_VECTORS is not set: it names the folder with real-events.ndjson and vectors/")
	}
	return dir
}

type suiteGroup struct {
	Description string
	Schema      json.RawMessage
	Tests       []struct {
		Description string
		Data        json.RawMessage
		Valid       bool
	}
}

// unmet are files of the suite's optional part that this package does not meet in full, with the reason. One that is
// listed and passes fails, so that the list stays true.
var unmet = map[string]string{
	"optional/content.json":                 "content is an annotation, in both drafts",
	"optional/ecmascript-regex.json":        "patterns are RE2: \\s, \\d and \\w differ beyond ASCII, look-around is refused",
	"optional/format/ecmascript-regex.json": "format regex means what pattern takes: RE2",
	"optional/format/idn-email.json":        "a format that is not asserted",
	"optional/format/idn-hostname.json":     "a format that is not asserted",
	"optional/format/hostname.json":         "A-labels are not decoded",
	"optional/format/iri.json":              "as the library has it",
	"optional/format/uri-template.json":     "as the library has it",
	"optional/cross-draft.json":             "a resource of a third draft is refused",
}

// TestSuite is the JSON-Schema-Test-Suite, for both drafts, through whichever way a schema takes and, where that is
// the program, through the library as well.
func TestSuite(t *testing.T) {
	root := filepath.Join(folder(t), "vectors", "json-schema")
	programs, libraries := 0, 0
	for draft, metaschema := range map[string]string{"draft7": "http://json-schema.org/draft-07/schema#", "draft2020-12": "https://json-schema.org/draft/2020-12/schema"} {
		resources := remotes(t, filepath.Join(root, "remotes"), metaschema)
		err := filepath.WalkDir(filepath.Join(root, "tests", draft), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name, _ := filepath.Rel(filepath.Join(root, "tests"), path)
			name = filepath.ToSlash(name)
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			var groups []suiteGroup
			if err := json.Unmarshal(text, &groups); err != nil {
				return err
			}
			t.Run(name, func(t *testing.T) {
				o := jsonschema.Options{Resources: resources, AnnotateFormats: !strings.Contains(name, "/optional/")}
				_, listed := unmet[strings.TrimPrefix(name, draft+"/")]
				wrong := 0
				for _, g := range groups {
					s, err := jsonschema.Compile(declare(g.Schema, metaschema), o)
					if err != nil {
						if wrong++; !listed {
							t.Errorf("%s: %v", g.Description, err)
						}
						continue
					}
					if yes, _ := s.Streaming(); yes {
						programs++
					} else {
						libraries++
					}
					for _, c := range g.Tests {
						for way, check := range map[string]func([]byte) ([]jsonschema.Violation, error){"either": s.Validate, "library": s.ValidateDecoded} {
							v, err := check(c.Data)
							if err != nil || (len(v) == 0) != c.Valid {
								if wrong++; !listed {
									t.Errorf("%s: %s: %s: got %v %v, want valid %v", g.Description, c.Description, way, v, err, c.Valid)
								}
							}
						}
					}
				}
				if listed && wrong == 0 {
					t.Errorf("it is listed as unmet, and passes")
				}
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d schemas were checked by the program, %d by the library", programs, libraries)
	if programs < 4*libraries {
		t.Error("most schemas should be checked by the program")
	}
}

// declare names the draft where the schema does not.
func declare(schema []byte, metaschema string) []byte {
	var object map[string]json.RawMessage
	if json.Unmarshal(schema, &object) != nil || object == nil || object["$schema"] != nil {
		return schema
	}
	body := strings.TrimPrefix(strings.TrimSpace(string(schema)), "{")
	if strings.TrimSpace(body) != "}" {
		body = "," + body
	}
	return []byte(`{"$schema":"` + metaschema + `"` + body)
}

func remotes(t *testing.T, dir, metaschema string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		name = filepath.ToSlash(name)
		for _, other := range []string{"draft3/", "draft4/", "draft6/", "draft2019-09/", "draft-next/", "v1/"} {
			if strings.HasPrefix(name, other) {
				return nil
			}
		}
		text, err := os.ReadFile(path)
		all["http://localhost:1234/"+name] = declare(text, metaschema)
		return err
	})
	if err != nil || len(all) < 10 {
		t.Fatalf("%d remotes, %v", len(all), err)
	}
	return all
}
