package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// maxTokenFile bounds what is read of a file that should hold a token of some hundred bytes.
const maxTokenFile = 64 << 10

// readToken reads the access token that a file holds. What is in the file never stands in an error.
func readToken(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", errorWithHint(fmt.Errorf("cannot read the token file %s: %w", path, pathCause(err)), "name a file that holds one access token (JWT)")
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxTokenFile+1))
	if err != nil {
		return "", fmt.Errorf("cannot read the token file %s: %w", path, pathCause(err))
	}
	token := strings.TrimSpace(string(raw))
	if token == "" || len(raw) > maxTokenFile || strings.ContainsAny(token, " \t\r\n") {
		return "", errorWithHint(fmt.Errorf("the token file %s does not hold one access token", path), "name a file that holds one access token (JWT) and nothing else")
	}
	return token, nil
}
