package identity

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/streams/fault"
)

// Ring is one of the two sets of master keys, which seal secrets in the control state.
type Ring string

// The rings.
const (
	RequestRing Ring = "requests" // secrets of signing keys: hubs and relays hold it
	SeedRing    Ring = "seeds"    // seeds of tenants' accounts: hubs alone
)

// Rings lists both.
func Rings() []Ring { return []Ring{RequestRing, SeedRing} }

func (r Ring) file() string {
	if r == SeedRing {
		return seedsFile
	}
	return masterFile
}

// AddMaster puts a fresh master key into a ring's files below dir: it opens there, and seals nothing yet. While the
// rotation to one that was added before is not done, it is that one. It returns the key's id.
func AddMaster(dir string, ring Ring) (id string, err error) {
	err = changeRing(dir, ring, func(s *keyring.AgeSealer) (*keyring.AgeSealer, error) {
		if have, err := os.ReadFile(nextFile(dir, ring)); err == nil && slices.Contains(s.IDs(), string(have)) {
			id = string(have)
			return s, nil
		}
		more, err := s.Add()
		if err != nil {
			return nil, err
		}
		ids := more.IDs()
		id = ids[len(ids)-1]
		return more, secretfile.Replace(nextFile(dir, ring), []byte(id))
	})
	return id, err
}

// PromoteMaster lets a master key seal from now on.
func PromoteMaster(dir string, ring Ring, id string) error {
	return changeRing(dir, ring, func(s *keyring.AgeSealer) (*keyring.AgeSealer, error) { return s.Promote(id) })
}

// MasterRotated says that nothing is sealed with another key than the ring's first: the next AddMaster makes another.
func MasterRotated(dir string, ring Ring) error {
	if err := os.Remove(nextFile(dir, ring)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Wrap("identity.master", fault.Unavailable, err)
	}
	return nil
}

// RetireMasters takes every master key out of a ring's files that does not seal. What they sealed, in backups too,
// can be read with copies of them alone.
func RetireMasters(dir string, ring Ring) error {
	return changeRing(dir, ring, func(s *keyring.AgeSealer) (*keyring.AgeSealer, error) { return s.Retire(), nil })
}

// Masters lists a ring's master keys as dir holds them: the first seals.
func Masters(dir string, ring Ring) ([]string, error) {
	s, err := readRing(filepath.Join(dir, "operator", ring.file()))
	if err != nil {
		return nil, err
	}
	return s.IDs(), nil
}

// nextFile holds the id of the master key that a rotation under way is to, so that a run that was interrupted goes on
// with it.
func nextFile(dir string, ring Ring) string {
	return filepath.Join(dir, "operator", ring.file()+".next")
}

func readRing(file string) (*keyring.AgeSealer, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, missing(file, err)
	}
	s, err := keyring.ParseAgeSealer(text)
	if err != nil {
		return nil, damaged(file, err)
	}
	return s, nil
}

// changeRing writes the operator's file and every copy that is below dir. At no moment does a copy hold a key that the
// operator's has not: keys come to the operator's first and go from it last. What was interrupted is completed
// by the next run, or by Create.
func changeRing(dir string, ring Ring, change func(*keyring.AgeSealer) (*keyring.AgeSealer, error)) error {
	operator := filepath.Join(dir, "operator")
	release, err := secretfile.Lock(filepath.Join(operator, ".lock"))
	if err != nil {
		return err
	}
	defer release()
	master := filepath.Join(operator, ring.file())
	now, err := readRing(master)
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(dir, "regions", "*", "*", ring.file()))
	if err != nil {
		return fault.Wrap("identity.master", fault.Internal, err)
	}
	for _, file := range files {
		have, err := readRing(file)
		if err != nil {
			return err
		}
		if !now.Holds(have) {
			return otherMesh(file)
		}
	}
	next, err := change(now)
	if err != nil {
		return err
	}
	if next.Holds(now) {
		files = append([]string{master}, files...)
	} else {
		files = append(files, master)
	}
	for _, file := range files {
		if err := secretfile.Replace(file, next.Identity()); err != nil {
			return err
		}
	}
	return nil
}

// refreshRing brings the copy of a ring in a folder up to the operator's. A copy with a key that the operator's has not
// is of another mesh, or newer than what the operator restored.
func refreshRing(folder, name string, want []byte) error {
	file := filepath.Join(folder, name)
	if _, err := ensure(file, func() ([]byte, error) { return want, nil }); err != nil {
		return err
	}
	have, err := readRing(file)
	if err != nil {
		return err
	}
	master, err := keyring.ParseAgeSealer(want)
	if err != nil {
		return err
	}
	if !master.Holds(have) {
		return otherMesh(file)
	}
	return refresh(file, want)
}
