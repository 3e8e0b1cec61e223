package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/cmd/weft/internal/meshfile"
	"github.com/weft-mesh/weft/consumers"
	"github.com/weft-mesh/weft/consumers/group"
	"github.com/weft-mesh/weft/streams/partition"
	"github.com/weft-mesh/weft/streams/subject"
)

// The states of a durable.
const (
	stateRead   = "read" // somebody asks for its events
	stateIdle   = "idle"
	stateMoved  = "moved" // its group goes on in another region
	statePaused = "paused"
)

// durableLine is what is known of a durable, or of one partition of it.
type durableLine struct {
	Region    string     `json:"region"`
	Group     string     `json:"group,omitempty"`
	Durable   string     `json:"durable"`
	Partition *int       `json:"partition,omitempty"`
	State     string     `json:"state"`
	Owner     string     `json:"owner,omitempty"`
	Epoch     uint64     `json:"epoch,omitempty"`
	Since     string     `json:"since,omitempty"`
	Lag       uint64     `json:"lag"`     // events that are not known to be handled
	Fetched   int        `json:"fetched"` // of those, delivered and not acknowledged; of the whole durable
	Oldest    *time.Time `json:"oldest,omitempty"`
	Age       float64    `json:"age_seconds"` // of the oldest event that is not known to be handled

	config *jetstream.ConsumerConfig
	floor  uint64
}

func newConsumerStatus() *cobra.Command {
	var n natsFlags
	var partitions bool
	cmd := &cobra.Command{
		Use:   "status [GROUP|DURABLE]",
		Short: "Show owner, lag and oldest event of durables",
		Long: `status shows the durables of the tenant in every region of mesh.json, or in the one that --region or --url names: who owns them
under which epoch, how many events are not known to be handled, and how old the oldest of them is.

read: somebody asks for its events. idle: nobody does. moved: its group goes on in another region. With --partitions there is a
line for each partition; its lag counts what comes after the last event before which the durable has acknowledged all.`,
		Example: "  weft consumer status\n  weft consumer status ledger --partitions -o json",
		Args:    cobra.MaximumNArgs(1),
	}
	n.register(cmd, " of the tenant's owner")
	cmd.Flags().BoolVar(&partitions, "partitions", false, "a line for each partition")
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		lines, err := n.durables(cmd, append(args, "")[0], partitions)
		if err != nil {
			return err
		}
		if format.value == formatTable {
			return printDurables(cmd.OutOrStdout(), lines)
		}
		return printValue(cmd.OutOrStdout(), format.value, lines)
	}
	return cmd
}

// durables asks every region. One that does not answer is told on standard error: the others know what matters.
func (n *natsFlags) durables(cmd *cobra.Command, name string, partitions bool) ([]durableLine, error) {
	regions := []string{n.mesh.region}
	if n.url == "" && n.mesh.region == "" {
		m, err := meshfile.Read(n.mesh.data)
		if err != nil {
			return nil, err
		}
		regions = regions[:0]
		for _, r := range m.Regions {
			regions = append(regions, r.Name)
		}
	}
	lines := []durableLine{}
	var failed error
	answered := 0
	for _, r := range regions {
		in := *n
		in.mesh.region = r
		found, err := in.durablesHere(cmd, name, partitions)
		if err != nil {
			failed = err
			if len(regions) > 1 {
				fmt.Fprintf(cmd.ErrOrStderr(), "region %s: %s\n", r, errorText(err))
			}
			continue
		}
		answered++
		lines = append(lines, found...)
	}
	if answered == 0 {
		return nil, failed
	}
	if name != "" && len(lines) == 0 {
		return nil, fmt.Errorf("there is no group or durable %q", name)
	}
	markMoved(lines)
	slices.SortStableFunc(lines, func(a, b durableLine) int {
		return cmp.Or(cmp.Compare(a.Durable, b.Durable), cmp.Compare(b.Epoch, a.Epoch))
	})
	return lines, nil
}

// markMoved tells the durables of a group that another region has under a higher epoch.
func markMoved(lines []durableLine) {
	newest := make(map[string]uint64)
	for _, l := range lines {
		newest[l.Durable] = max(newest[l.Durable], l.Epoch)
	}
	for i := range lines {
		if l := &lines[i]; l.Group != "" && l.Epoch < newest[l.Durable] {
			l.State, l.Owner = stateMoved, ""
		}
	}
}

// durablesHere reads those of one region.
func (n *natsFlags) durablesHere(cmd *cobra.Command, name string, partitions bool) ([]durableLine, error) {
	nc, _, err := n.connect(cmd)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 12*stepWait)
	defer cancel()
	st, err := js.Stream(ctx, subject.EventsStream)
	if err != nil {
		return nil, errorWithHint(fmt.Errorf("cannot read %s: %s", subject.EventsStream, errorText(err)), "are the credentials the tenant owner's?")
	}
	region := "?"
	for _, s := range st.CachedInfo().Config.Subjects {
		if o, ok := subject.OriginOf(s); ok {
			region = o.Region
		}
	}
	list := st.ListConsumers(ctx)
	var lines []durableLine
	for info := range list.Info() {
		l := lineOf(info)
		l.Region = region
		if info.Config.Durable == "" || name != "" && name != l.Durable && name != l.Group {
			continue
		}
		lines = append(lines, l)
	}
	if err := list.Err(); err != nil {
		return nil, err
	}
	return aged(ctx, st, lines, partitions)
}

// lineOf is what the durable itself tells.
func lineOf(info *jetstream.ConsumerInfo) durableLine {
	l := durableLine{
		Durable: info.Name, State: stateIdle, Group: info.Config.Metadata[group.LabelGroup], Owner: info.Config.Metadata[group.LabelOwner], Since: info.Config.Metadata[group.LabelSince],
		Lag: info.NumPending + uint64(max(info.NumAckPending, 0)), Fetched: info.NumAckPending, config: &info.Config, floor: info.AckFloor.Stream,
	}
	l.Epoch, _ = consumers.OwnerEpoch(&info.Config)
	switch {
	case info.Paused:
		l.State = statePaused
	case info.NumWaiting > 0 || info.NumAckPending > 0 && (l.Group == "" || l.Owner != ""): // a full batch asks for nothing
		l.State = stateRead
	}
	return l
}

// aged looks up the oldest event of each line, and makes a line of each partition if that is asked for.
func aged(ctx context.Context, st jetstream.Stream, lines []durableLine, partitions bool) ([]durableLine, error) {
	var out []durableLine
	for _, l := range lines {
		whole := filtersOf(l.config)
		if !partitions {
			if err := l.age(ctx, st, whole); err != nil {
				return nil, err
			}
			out = append(out, l)
			continue
		}
		for p := range partition.Count {
			filters := within(whole, p)
			if len(filters) == 0 {
				continue
			}
			one := l
			one.Partition = &p
			if err := errors.Join(one.age(ctx, st, filters), one.count(ctx, st, filters)); err != nil {
				return nil, err
			}
			out = append(out, one)
		}
	}
	return out, nil
}

func filtersOf(c *jetstream.ConsumerConfig) []string {
	switch {
	case len(c.FilterSubjects) > 0:
		return c.FilterSubjects
	case c.FilterSubject != "":
		return []string{c.FilterSubject}
	default:
		return []string{subject.Events()}
	}
}

// within narrows the filters of a durable of ours to one partition; none when it does not deliver it.
func within(filters []string, p int) (narrow []string) {
	for _, f := range filters {
		if n, ok := subject.InPartition(f, p); ok {
			narrow = append(narrow, n)
		}
	}
	return narrow
}

// age looks for the oldest event that is not known to be handled.
func (l *durableLine) age(ctx context.Context, st jetstream.Stream, filters []string) error {
	if l.Lag == 0 {
		return nil
	}
	var oldest *jetstream.RawStreamMsg
	for _, f := range filters {
		m, err := st.GetMsg(ctx, l.floor+1, jetstream.WithGetMsgSubject(f))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if oldest == nil || m.Sequence < oldest.Sequence {
			oldest = m
		}
	}
	if oldest != nil {
		l.Oldest, l.Age = &oldest.Time, time.Since(oldest.Time).Seconds()
	}
	return nil
}

// count is how many events there are behind the floor.
func (l *durableLine) count(ctx context.Context, st jetstream.Stream, filters []string) error {
	if l.Oldest == nil {
		l.Lag = 0
		return nil
	}
	cons, err := st.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: filters, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: l.floor + 1, HeadersOnly: true,
	})
	if err != nil {
		return err
	}
	l.Lag = cons.CachedInfo().NumPending
	return st.DeleteConsumer(ctx, cons.CachedInfo().Name)
}

func printDurables(w io.Writer, lines []durableLine) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "REGION\tDURABLE\tPARTITION\tSTATE\tOWNER\tEPOCH\tLAG\tFETCHED\tOLDEST")
	for _, l := range lines {
		p, owner, epoch, oldest := "all", cmp.Or(l.Owner, "-"), "-", "-"
		if l.Partition != nil {
			p = strconv.Itoa(*l.Partition)
		} else if l.Group != "" {
			p = partitionsOf(l.config)
		}
		if l.Epoch > 0 {
			epoch = strconv.FormatUint(l.Epoch, 10)
		}
		if l.Oldest != nil {
			oldest = time.Duration(l.Age * float64(time.Second)).Round(time.Millisecond).String()
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%s\n", l.Region, l.Durable, p, l.State, owner, epoch, l.Lag, l.Fetched, oldest)
	}
	return tw.Flush()
}

// partitionsOf shows a durable's range of partitions.
func partitionsOf(c *jetstream.ConsumerConfig) string {
	first, last := -1, -1
	for p := range partition.Count {
		if len(within(filtersOf(c), p)) > 0 {
			if first < 0 {
				first = p
			}
			last = p
		}
	}
	switch {
	case first == last:
		return strconv.Itoa(first)
	default:
		return fmt.Sprintf("%d-%d", first, last)
	}
}
