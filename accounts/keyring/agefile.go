package keyring

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weft-mesh/weft/streams/fault"
)

// lookEvery bounds how often the identity file is looked at.
const lookEvery = time.Second

// AgeFile is an AgeSealer whose identities are a file's, read again when the file changes. A file that cannot
// be read, or is half written, leaves what was read before in force.
type AgeFile struct {
	path string
	held atomic.Pointer[AgeSealer]

	mu     sync.Mutex // held while the file is looked at
	looked time.Time
	seen   fileMark
}

// fileMark tells one content of a file from another without reading it.
type fileMark struct {
	size     int64
	modified time.Time
}

var _ Sealer = (*AgeFile)(nil)

// OpenAgeFile reads an identity file, which must be whole.
func OpenAgeFile(path string) (*AgeFile, error) {
	f := &AgeFile{path: path}
	mark, s, err := f.read()
	if err != nil {
		return nil, err
	}
	f.held.Store(s)
	f.seen = mark
	return f, nil
}

func (f *AgeFile) read() (fileMark, *AgeSealer, error) {
	const op = "sealer.load"
	info, err := os.Stat(f.path) // before the content: what is written in between is seen at the next look
	if err != nil {
		return fileMark{}, nil, fault.Wrap(op, fault.NotFound, err)
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		return fileMark{}, nil, fault.Wrap(op, fault.NotFound, err)
	}
	s, err := ParseAgeSealer(text)
	if err != nil {
		return fileMark{}, nil, fault.Wrap(op+": "+f.path, fault.Invalid, err)
	}
	return fileMark{info.Size(), info.ModTime()}, s, nil
}

// sealer looks at the file if it was not looked at for a second.
func (f *AgeFile) sealer() *AgeSealer {
	if !f.mu.TryLock() { // somebody looks
		return f.held.Load()
	}
	defer f.mu.Unlock()
	if time.Since(f.looked) < lookEvery {
		return f.held.Load()
	}
	f.looked = time.Now()
	if info, err := os.Stat(f.path); err != nil || f.seen == (fileMark{info.Size(), info.ModTime()}) {
		return f.held.Load()
	}
	if mark, s, err := f.read(); err == nil {
		f.held.Store(s)
		f.seen = mark
	}
	return f.held.Load()
}

// Seal seals with the file's first identity.
func (f *AgeFile) Seal(ctx context.Context, plain []byte) (string, error) {
	return f.sealer().Seal(ctx, plain)
}

// Open opens with the identity that the text names. The file is looked at when that is not known.
func (f *AgeFile) Open(ctx context.Context, sealed string) (Secret, error) {
	s := f.held.Load()
	if s.find(MasterOf(sealed)) == nil {
		s = f.sealer()
	}
	return s.Open(ctx, sealed)
}

// Masters lists the file's identities.
func (f *AgeFile) Masters(ctx context.Context) ([]string, error) { return f.sealer().Masters(ctx) }

// String names the sealer by the master key that it seals with.
func (f *AgeFile) String() string { return f.held.Load().String() }
