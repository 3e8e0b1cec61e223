package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// The worked example of the docs is what the command prints.
func TestPlanPrintsWhatTheDocsShow(t *testing.T) {
	raw, err := os.ReadFile("../../deploy/docs/capacity.md")
	if err != nil {
		t.Fatal(err)
	}
	const command = "$ weft plan --rate 120000 --regions 2\n"
	_, example, ok := strings.Cut(string(raw), command)
	if !ok {
		t.Fatalf("capacity.md has no %q", command)
	}
	example, _, _ = strings.Cut(example, "```")
	var out bytes.Buffer
	root := newRootCommand()
	root.SetOut(&out)
	if code := execute(t.Context(), root, []string{"plan", "--rate", "120000", "--regions", "2"}); code != exitOK {
		t.Fatalf("exit code %d", code)
	}
	if !strings.HasPrefix(out.String(), example) {
		t.Errorf("weft plan --rate 120000 --regions 2 prints\n%s\ncapacity.md shows\n%s", out.String(), example)
	}
}
