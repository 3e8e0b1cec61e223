package main

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/cmd/rig/internal/nemesis"
	"github.com/weft-mesh/weft/cmd/rig/internal/trial"
)

// soakFlags are what a soak can be told.
type soakFlags struct {
	minutes   float64
	schedules int
	seed      uint64
	parallel  int
	length    time.Duration
	rate      int
	only      []string
	plant     string
	weft, dir string
	keep      bool
	verbose   bool
	report    string
}

func (s *soakFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.Uint64Var(&s.seed, "seed", 0, "seed of the first schedule; the next ones count up from it (default: random)")
	f.DurationVar(&s.length, "length", 10*time.Second, "traffic of one schedule, healing not included")
	f.IntVar(&s.rate, "rate", 2500, "events per second and region that the main tenant sends")
	f.StringSliceVar(&s.only, "faults", nil, "only these kinds: "+kindNames())
}

func newSoakCommand() *cobra.Command {
	s := &soakFlags{}
	cmd := &cobra.Command{
		Use:   "soak",
		Short: "Run schedules of faults and judge what is left",
		Long: `soak runs one schedule after the other, each on a mesh of its own, until the minutes or the schedules are used up.
Exit 0 only if nothing fell; the last line on standard output is the verdict as JSON. A schedule that fell leaves its
directory: the configuration, stores and logs of every process.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return s.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	s.register(cmd)
	f := cmd.Flags()
	f.Float64Var(&s.minutes, "minutes", 0, "begin no schedule after these minutes")
	f.IntVar(&s.schedules, "schedules", 0, "at most so many schedules (default: 1 without --minutes, else no limit)")
	f.IntVar(&s.parallel, "parallel", 1, "schedules at the same time")
	f.StringVar(&s.plant, "plant", "", "damage each result behind the checker's back: "+strings.Join(plants, ", "))
	f.StringVar(&s.weft, "weft", "", "binary of weft, built with -tags rig (default: build it)")
	f.StringVar(&s.dir, "dir", "", "where to work (default: the system's directory for temporary files)")
	f.BoolVar(&s.keep, "keep", false, "keep the directory of every schedule")
	f.BoolVarP(&s.verbose, "verbose", "v", false, "print every fault as it strikes")
	f.StringVar(&s.report, "report", "", "append one line of JSON for each schedule to this file")
	return cmd
}

func kindNames() string {
	var names []string
	for _, k := range nemesis.Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

func (s *soakFlags) settings() (nemesis.Settings, error) {
	set := nemesis.Settings{Length: s.length, Rate: s.rate, Lazy: canMount()}
	known := nemesis.Kinds()
	for _, name := range s.only {
		k := nemesis.Kind(name)
		if !contains(known, k) {
			return set, fmt.Errorf("no fault %q: there are %s", name, kindNames())
		}
		set.Only = append(set.Only, k)
	}
	if s.length < 4*time.Second || s.rate < 20 {
		return set, fmt.Errorf("a schedule needs 4 s and 20 events/s at least")
	}
	return set, nil
}

func contains(ks []nemesis.Kind, k nemesis.Kind) bool {
	for _, x := range ks {
		if x == k {
			return true
		}
	}
	return false
}

func (s *soakFlags) run(ctx context.Context, out io.Writer) error {
	set, err := s.settings()
	if err != nil {
		return err
	}
	if s.seed == 0 {
		s.seed = randomSeed()
	}
	if s.schedules == 0 && s.minutes == 0 {
		s.schedules = 1
	}
	work, err := os.MkdirTemp(s.dir, "weft-rig-")
	if err != nil {
		return err
	}
	if s.weft == "" {
		if s.weft, err = buildWeft(ctx, work); err != nil {
			return err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if !set.Lazy {
		fmt.Fprintln(out, "no FUSE here: power cuts, full disks and disk errors are left out")
	}
	tally := newTally(s.seed, commit(ctx))
	s.soak(ctx, set, func(p nemesis.Plan) {
		o := trial.Options{Weft: s.weft, Rig: self, Dir: filepath.Join(work, fmt.Sprint(p.Seed)), Keep: s.keep, Plant: s.plant, Log: s.logger(out, p.Seed)}
		res, err := trial.Run(ctx, p, o)
		if ctx.Err() == nil {
			tally.add(out, p, res, err, s.report)
		}
	})
	if tally.clean() && !s.keep {
		_ = os.RemoveAll(work) // nothing of interest is in it
	}
	return tally.verdict(out)
}

// soak runs schedules, several at once, until there are enough.
func (s *soakFlags) soak(ctx context.Context, set nemesis.Settings, one func(nemesis.Plan)) {
	end := time.Now().Add(time.Duration(s.minutes * float64(time.Minute)))
	var mu sync.Mutex
	next := 0
	take := func() (nemesis.Plan, bool) {
		mu.Lock()
		defer mu.Unlock()
		if ctx.Err() != nil || s.schedules > 0 && next == s.schedules || s.minutes > 0 && time.Now().After(end) {
			return nemesis.Plan{}, false
		}
		next++
		return nemesis.New(s.seed+uint64(next-1), set), true //nolint:gosec // positive
	}
	var wg sync.WaitGroup
	for range max(1, s.parallel) {
		wg.Go(func() {
			for p, ok := take(); ok; p, ok = take() {
				one(p)
			}
		})
	}
	wg.Wait()
}

func (s *soakFlags) logger(out io.Writer, seed uint64) func(string, ...any) {
	if !s.verbose {
		return func(string, ...any) {}
	}
	began := time.Now()
	return func(format string, args ...any) {
		fmt.Fprintf(out, "%d %6.2fs  %s\n", seed, time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
}

func randomSeed() uint64 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return uint64(binary.LittleEndian.Uint32(b[:]))
}

func newPlanCommand() *cobra.Command {
	s := &soakFlags{}
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Print the schedule of a seed",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			set, err := s.settings()
			if err != nil {
				return err
			}
			p := nemesis.New(s.seed, set)
			_, err = fmt.Fprint(cmd.OutOrStdout(), p.Describe())
			return err
		},
	}
	s.register(cmd)
	return cmd
}
