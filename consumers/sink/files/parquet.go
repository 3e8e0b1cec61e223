package files

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/parquet-go/parquet-go"

	"github.com/weft-mesh/weft/consumers/sink/recent"
	"github.com/weft-mesh/weft/streams/subject"
)

// bloomBits of the filter on event ids: who looks for one event skips all but one in a hundred of the other files.
const bloomBits = 10

// encoder makes files one after the other; its buffers are kept from one to the next.
type encoder struct{ w *parquet.GenericWriter[row] }

func newEncoder() *encoder {
	return &encoder{parquet.NewGenericWriter[row](nil, parquet.Compression(&parquet.Zstd), parquet.CreatedBy("weft", "", ""),
		parquet.BloomFilters(parquet.SplitBlockFilter(bloomBits, "event_id")))}
}

// encode makes a file of rows, which come one at a time.
func (e *encoder) encode(count int, at func(i int) row) ([]byte, error) {
	var out bytes.Buffer
	e.w.Reset(&out)
	one := make([]row, 1)
	for i := range count {
		one[0] = at(i)
		if _, err := e.w.Write(one); err != nil {
			return nil, err
		}
	}
	err := e.w.Close()
	return out.Bytes(), err
}

// stored is what is read of an event to know it again.
type stored struct {
	EventID   string `parquet:"event_id"`
	Origin    string `parquet:"origin"`
	OriginSeq int64  `parquet:"origin_seq"`
}

func (s *stored) position() (recent.Position, error) {
	origin, err := subject.ParseOrigin(s.Origin)
	return recent.Position{Origin: origin, Seq: uint64(s.OriginSeq)}, err //nolint:gosec // was one when it was written
}

// rows reads the columns of T of a file and calls each for every row until it returns false.
func rows[T any](ctx context.Context, st store, name string, each func(*T) bool) error {
	o, err := st.open(ctx, name)
	if err != nil {
		return err
	}
	return errors.Join(scan(o, each), o.close())
}

func scan[T any](o *object, each func(*T) bool) (err error) {
	f, err := parquet.OpenFile(o, o.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return err
	}
	r := parquet.NewGenericReader[T](f)
	defer func() { err = errors.Join(err, r.Close()) }()
	some := make([]T, 256)
	for {
		n, err := r.Read(some)
		for i := range n {
			if !each(&some[i]) {
				return nil
			}
		}
		clear(some)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
