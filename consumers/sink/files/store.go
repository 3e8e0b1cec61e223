package files

import (
	"context"
	"errors"
	"io"
)

// store keeps objects under names with slashes. It is safe for concurrent use. An error other than the ones below says
// nothing about whether it was done.
type store interface {
	// put stores an object, in place of one that has the name. It survives power loss when nil is returned.
	put(ctx context.Context, name string, data []byte) error
	// create stores an object unless the name is taken, which is errTaken. Of several callers exactly one succeeds. It
	// survives power loss when nil is returned.
	create(ctx context.Context, name string, data []byte) error
	// open opens an object for reading; errMissing when there is none.
	open(ctx context.Context, name string) (*object, error)
	// list returns the names in a folder that sort after one of them, in order, without the folder's.
	list(ctx context.Context, folder, after string) ([]string, error)
	// remove removes an object, and what an interrupted put or create of it left; one that is missing is no error.
	remove(ctx context.Context, name string) error
}

var (
	errTaken   = errors.New("the name is taken")
	errMissing = errors.New("there is no such object")
)

// object is an object that is open for reading.
type object struct {
	io.ReaderAt
	size  int64
	close func() error
}

// get reads an object as a whole.
func get(ctx context.Context, s store, name string) ([]byte, error) {
	o, err := s.open(ctx, name)
	if err != nil {
		return nil, err
	}
	data := make([]byte, o.size)
	_, err = io.ReadFull(io.NewSectionReader(o, 0, o.size), data)
	return data, errors.Join(err, o.close())
}
