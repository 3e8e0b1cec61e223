package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestShippedConfigurations checks every file below deploy, and every example, as `weft config validate` does.
func TestShippedConfigurations(t *testing.T) {
	for _, role := range configRoles() {
		from := "../../deploy/*/"
		if role.name == "consumer" {
			from = "internal/config/examples/"
		}
		files, err := filepath.Glob(from + role.name + "*.yaml")
		if err != nil || len(files) == 0 {
			t.Errorf("no %s configuration in %s (%v)", role.name, from, err)
		}
		for _, file := range files {
			run(t.Context(), strings.NewReader(""), "config", "validate", role.name, "--config", file).expect(t, 0)
		}
	}
}
