package meshfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/rogpeppe/go-internal/lockedfile"

	"github.com/weft-mesh/weft/streams/fault"
)

// lockName is the file whose lock serialises writers. It stays: removing a lock file lets two writers
// hold "the" lock at once.
const lockName = ".mesh.lock"

// Write replaces DIR/mesh.json in one step. The directory must exist.
func Write(dir string, m *Mesh) error {
	return locked(dir, func() error { return replace(dir, m) })
}

// Remove deletes DIR/mesh.json; one that is not there is no error.
func Remove(dir string) error {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return locked(dir, func() error {
		if err := os.Remove(filepath.Join(dir, FileName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unwritable(dir, err)
		}
		return nil
	})
}

// UpsertTenant adds the tenant, or replaces the one of that name in its place.
func UpsertTenant(dir string, t Tenant) error {
	return update(dir, func(m *Mesh) {
		if i := slices.IndexFunc(m.Tenants, func(have Tenant) bool { return have.Name == t.Name }); i >= 0 {
			m.Tenants[i] = t
			return
		}
		m.Tenants = append(m.Tenants, t)
	})
}

// RemoveTenant takes the tenant out; one that is not there is no error.
func RemoveTenant(dir, name string) error {
	return update(dir, func(m *Mesh) {
		m.Tenants = slices.DeleteFunc(m.Tenants, func(t Tenant) bool { return t.Name == name })
	})
}

// Read reads DIR/mesh.json and checks that it can be used. Members it does not know are ignored: a newer
// weft may have written them.
func Read(dir string) (*Mesh, error) {
	raw, err := os.ReadFile(filepath.Join(dir, FileName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &Error{
			Err:  fault.New("meshfile.read", fault.NotFound, "no_mesh", "no mesh at %s", dir),
			Next: fmt.Sprintf("start one with `weft up --data %s`", dir),
		}
	case err != nil:
		return nil, &Error{
			Err:  fault.New("meshfile.read", fault.Unavailable, "mesh_unreadable", "cannot read %s: %s", filepath.Join(dir, FileName), cause(err)),
			Next: "check the owner and the permissions of the data directory",
		}
	}
	m := &Mesh{dir: dir}
	if problem := decode(raw, m); problem != "" {
		return nil, &Error{
			Err:  fault.New("meshfile.read", fault.Invalid, "mesh_damaged", "%s is damaged: %s", filepath.Join(dir, FileName), problem),
			Next: fmt.Sprintf("remove it or start the mesh again with `weft up --data %s`", dir),
		}
	}
	return m, nil
}

// decode fills m and says in one phrase what is wrong with the bytes, "" when nothing is.
func decode(raw []byte, m *Mesh) string {
	if len(bytes.TrimSpace(raw)) == 0 {
		return "it is empty"
	}
	err := json.Unmarshal(raw, m)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return position(raw, syntax.Offset) + ": " + syntax.Error()
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("%s: %q is a JSON %s", position(raw, wrong.Offset), wrong.Field, wrong.Value)
	}
	if err != nil {
		return err.Error()
	}
	return m.problem()
}

// position turns the offset behind the offending byte into a line and a column, both from 1.
func position(raw []byte, offset int64) string {
	before := raw[:max(0, min(int(offset)-1, len(raw)))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - (bytes.LastIndexByte(before, '\n') + 1) + 1
	return fmt.Sprintf("line %d, column %d", line, column)
}

func update(dir string, change func(*Mesh)) error {
	if _, err := os.Stat(filepath.Join(dir, FileName)); err != nil {
		_, err := Read(dir) // reports what is wrong without leaving a lock file behind
		return err
	}
	return locked(dir, func() error {
		m, err := Read(dir)
		if err != nil {
			return err
		}
		change(m)
		return replace(dir, m)
	})
}

func locked(dir string, do func() error) error {
	unlock, err := lockedfile.MutexAt(filepath.Join(dir, lockName)).Lock()
	if err != nil {
		return unwritable(dir, err)
	}
	defer unlock()
	return do()
}

// replace writes a temporary file beside the target and renames it, both synced: after a crash there is
// the old file or the new one.
func replace(dir string, m *Mesh) (err error) {
	out, err := encode(m)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "."+FileName+".*") // mode 0600
	if err != nil {
		return unwritable(dir, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(out)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(dir, FileName))
	}
	if err != nil {
		return unwritable(dir, err)
	}
	return nil
}

func encode(m *Mesh) ([]byte, error) {
	whole := *m
	if whole.Tenants == nil {
		whole.Tenants = []Tenant{} // the file's readers expect a list
	}
	if p := whole.problem(); p != "" {
		return nil, fault.New("meshfile.write", fault.Internal, "mesh_incomplete", "refusing to write %s: %s", FileName, p)
	}
	out, err := json.MarshalIndent(whole, "", "  ")
	if err != nil {
		return nil, fault.Wrap("meshfile.write", fault.Internal, err)
	}
	return append(out, '\n'), nil
}

func unwritable(dir string, err error) error {
	return &Error{
		Err:  fault.New("meshfile.write", fault.Unavailable, "mesh_unwritable", "cannot write %s: %s", filepath.Join(dir, FileName), cause(err)),
		Next: "check that the data directory exists, is yours and has space left",
	}
}

// cause is the bare reason of a file error: the path is said once, by the caller.
func cause(err error) string {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err.Error()
	}
	if l, ok := errors.AsType[*os.LinkError](err); ok {
		return l.Err.Error()
	}
	return err.Error()
}
