package meshfile

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/streams/fault"
)

// ReadSecret reads a key's secret: its bytes in base64 on one line. No error shows any of it.
func ReadSecret(path string) (keyring.Secret, error) {
	const op = "meshfile.secret"
	raw, err := os.ReadFile(path)
	if err != nil {
		cause := err
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			cause = p.Err // the path is said here
		}
		return nil, &Error{
			Err:  &fault.Error{Op: op, Kind: fault.Invalid, Code: "secret_unreadable", Detail: "cannot read the key's secret " + path, Err: cause},
			Next: "name it with --secret-file",
		}
	}
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(raw)))
	if err != nil || len(secret) == 0 {
		return nil, &Error{Err: fault.New(op, fault.Invalid, "secret_malformed", "%s does not hold a secret", path), Next: "it should be one line of base64"}
	}
	return keyring.Secret(secret), nil
}
