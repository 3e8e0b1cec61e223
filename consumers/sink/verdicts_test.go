package sink_test

import (
	"errors"
	"testing"

	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/retry"
	"github.com/weft-mesh/weft/consumers/sink"
)

func TestVerdicts(t *testing.T) {
	m, err := sink.NewMetrics(nil, "test")
	if err != nil {
		t.Fatal(err)
	}
	v := sink.NewVerdicts(3)
	v.Add(sink.Delivered, 2)
	if err := v.Settle(m); err != nil {
		t.Errorf("nothing was refused: %v", err)
	}
	v = sink.NewVerdicts(3)
	v.Refuse(1, sink.Conflict, errors.New("other content"))
	errs, ok := errors.AsType[consumers.BatchErrors](v.Settle(m))
	if !ok || len(errs) != 3 || errs[0] != nil || errs[2] != nil || retry.Classify(errs[1]) != retry.Hopeless {
		t.Errorf("got %v", errs)
	}
}
