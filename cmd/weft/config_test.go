package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestShippedConfigurations checks every hub and relay file below deploy as `weft config validate` does.
func TestShippedConfigurations(t *testing.T) {
	for _, role := range configRoles() {
		files, err := filepath.Glob("../../deploy/*/" + role.name + "*.yaml")
		if err != nil || len(files) == 0 {
			t.Errorf("no %s configuration below deploy (%v)", role.name, err)
		}
		for _, file := range files {
			run(t.Context(), strings.NewReader(""), "config", "validate", role.name, "--config", file).expect(t, 0)
		}
	}
}
