package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// buildWeft builds the weft that a rig runs: with the tag that lets the rig skew its clock.
func buildWeft(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "weft")
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "rig", "-o", bin, "github.com/weft-mesh/weft/cmd/weft") //nolint:gosec // our own code
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("weft cannot be built (run the rig inside its checkout, or give --weft): %w\n%s", err, out)
	}
	return bin, nil
}

// commit is what is tested, as git names it; "unknown" outside of a checkout.
func commit(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, "git", "rev-parse", "--short=12", "HEAD").Output()
	if err != nil {
		return "unknown"
	}
	name := strings.TrimSpace(string(out))
	if out, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--untracked-files=no").Output(); err == nil && len(out) > 0 {
		name += "+changes"
	}
	return name
}
