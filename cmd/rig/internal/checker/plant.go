package checker

import "fmt"

// Kinds of damage that Plant does.
const (
	PlantLose    = "lose"    // an acknowledged event goes, from one copy or all
	PlantDup     = "dup"     // an event is stored a second time
	PlantReorder = "reorder" // two events of one key and origin change places in one region
	PlantDiverge = "diverge" // a replicated event is in one region only, or has another body there
	PlantEffect  = "effect"  // a consumer acts twice on one event
)

// Plant damages h behind the checker's back, in a place that seed chooses, so that a rig can show that its judge
// would see it. It fails when h has nothing that could be damaged this way, and h is unchanged then.
func Plant(h *History, kind string, seed uint64) error {
	return fmt.Errorf("plant %q: not there yet", kind)
}
