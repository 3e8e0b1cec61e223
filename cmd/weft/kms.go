package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/accounts/identity"
	"github.com/weft-mesh/weft/cmd/weft/internal/adminclient"
	"github.com/weft-mesh/weft/hub"
)

func newKMSCommand() *cobra.Command {
	var a adminFlags
	cmd := &cobra.Command{
		Use:   "kms",
		Short: "Change the master keys that seal secrets, while the mesh runs",
		Long: `Secrets in the control state are sealed with master keys: one ring for the secrets of signing keys, which hubs and relays
hold, and one for the seeds of tenants' accounts, which hubs alone hold. A ring is a file of age identities
(operator/master.age, operator/seeds.age, and copies in the folders of the regions): its first key seals, all of them
open. Hubs and relays read their copy again when it changes.`,
	}
	a.register(cmd)
	cmd.AddCommand(newKMSList(&a), newKMSRotate(&a), newKMSRetire(&a))
	return cmd
}

// masters asks every server. One that does not answer has an error instead of a view.
func (a *adminFlags) masters(ctx context.Context) (views []*hub.MasterView, silent []string, err error) {
	urls, err := a.all()
	if err != nil {
		return nil, nil, err
	}
	for _, u := range urls {
		c, err := adminclient.New(a.data, []string{u})
		if err != nil {
			return nil, nil, err
		}
		v := new(hub.MasterView)
		if err := c.Do(ctx, "GET", "/v1/masters", nil, v); err != nil {
			silent = append(silent, fmt.Sprintf("%s: %v", u, err))
			continue
		}
		views = append(views, v)
	}
	if len(views) == 0 {
		return nil, silent, errorWithHint(errors.New("no hub answers"), "start the hubs, or name their addresses with --admin")
	}
	return views, silent, nil
}

func newKMSList(a *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List master keys: what they seal, and who does not hold them",
		Args:  cobra.NoArgs,
	}
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		views, silent, err := a.masters(cmd.Context())
		if err != nil {
			return err
		}
		for _, s := range silent {
			fmt.Fprintln(cmd.ErrOrStderr(), s)
		}
		if format.value != formatTable {
			return printValue(cmd.OutOrStdout(), format.value, views)
		}
		return printMasters(cmd.OutOrStdout(), views)
	}
	return cmd
}

func printMasters(w io.Writer, views []*hub.MasterView) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "RING\tMASTER KEY\tSERVER\tUSE\tSECRETS\tRELAYS WITHOUT IT")
	for _, ring := range identity.Rings() {
		for _, v := range views {
			r := v.Rings[ring]
			ids := append(slices.Clone(r.Held), slices.DeleteFunc(slices.Sorted(maps.Keys(r.Records)), func(id string) bool { return slices.Contains(r.Held, id) })...)
			for i, id := range ids {
				use := "opens"
				switch {
				case i >= len(r.Held):
					use = "missing"
				case i == 0:
					use = "seals"
				}
				fmt.Fprintf(tw, "%s\t%s\t%s-%d\t%s\t%d\t%s\n", ring, id, v.Region, v.Server, use, r.Records[id], strings.Join(r.Lacking[id], ","))
			}
		}
	}
	return tw.Flush()
}

func newKMSRotate(a *adminFlags) *cobra.Command {
	var wait time.Duration
	var without []string
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Seal every secret with a new master key",
		Long: `rotate adds a key to both rings, waits until every hub and relay holds it, lets it seal, and seals every secret of the
control state anew. Nothing stops meanwhile, and it may be interrupted at any point and run again.

It writes the files below --data. Where the regions' folders are elsewhere, copy operator/master.age over every hub's
and relay's master.age and operator/seeds.age over every hub's seeds.age when it says who is behind, and run it again.
The old keys still open; take them away with ` + "`weft kms retire`" + `.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := masterRotation{a: a, w: cmd.OutOrStdout(), without: without, ids: map[identity.Ring]string{}}
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			return r.run(ctx)
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", time.Minute, "how long hubs and relays may take to read their files")
	cmd.Flags().StringSliceVar(&without, "without", nil, "regions that are not waited for: their relays refuse what they cannot open until they hold the key")
	return cmd
}

// masterRotation is one run of `weft kms rotate`.
type masterRotation struct {
	a       *adminFlags
	w       io.Writer
	without []string
	ids     map[identity.Ring]string
}

func (r *masterRotation) run(ctx context.Context) error {
	for _, ring := range identity.Rings() {
		id, err := identity.AddMaster(r.a.data, ring)
		if err != nil {
			return err
		}
		r.ids[ring] = id
		fmt.Fprintf(r.w, "%s: master key %s is in the files below %s\n", ring, id, r.a.data)
	}
	if err := r.await(ctx, "hold the new master keys", r.behind); err != nil {
		return err
	}
	for _, ring := range identity.Rings() {
		if err := identity.PromoteMaster(r.a.data, ring, r.ids[ring]); err != nil {
			return err
		}
	}
	if err := r.await(ctx, "seal with the new master keys", r.notSealing); err != nil {
		return err
	}
	done, err := r.rewrap(ctx)
	if err != nil {
		return err
	}
	if err := r.await(ctx, "know the secrets that were sealed anew", r.old); err != nil {
		return err
	}
	for _, ring := range identity.Rings() {
		if err := identity.MasterRotated(r.a.data, ring); err != nil {
			return err
		}
	}
	fmt.Fprintf(r.w, "%d secrets sealed anew; the old master keys open still: `weft kms retire` takes them away\n", done)
	return nil
}

// await polls all servers until none is behind.
func (r *masterRotation) await(ctx context.Context, what string, behind func(*hub.MasterView) string) error {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		views, left, err := r.a.masters(ctx)
		if len(r.without) > 0 {
			left = nil // a server that does not answer does not say of which region it is
		}
		for _, v := range views {
			if slices.Contains(r.without, v.Region) {
				continue
			}
			if why := behind(v); why != "" {
				left = append(left, why)
			}
		}
		if err == nil && len(left) == 0 {
			fmt.Fprintf(r.w, "all servers %s\n", what)
			return nil
		}
		select {
		case <-ctx.Done():
			return errorWithHint(fmt.Errorf("not all %s: %s", what, strings.Join(left, "; ")), "copy the files there, or wait, and run it again")
		case <-tick.C:
		}
	}
}

func (r *masterRotation) behind(v *hub.MasterView) string {
	for _, ring := range identity.Rings() {
		id := r.ids[ring]
		if !slices.Contains(v.Rings[ring].Held, id) {
			return fmt.Sprintf("server %s-%d does not hold %s", v.Region, v.Server, id)
		}
		if left := v.Rings[ring].Lacking[id]; len(left) > 0 {
			return fmt.Sprintf("relays of %s do not hold %s: %s", v.Region, id, strings.Join(left, ", "))
		}
	}
	return ""
}

func (r *masterRotation) notSealing(v *hub.MasterView) string {
	for _, ring := range identity.Rings() {
		if v.Rings[ring].Held[0] != r.ids[ring] {
			return fmt.Sprintf("server %s-%d seals with %s", v.Region, v.Server, v.Rings[ring].Held[0])
		}
	}
	return ""
}

// old says whether a server knows secrets that are sealed with another key than the one that seals.
func (r *masterRotation) old(v *hub.MasterView) string { return sealedByOld(v) }

func sealedByOld(v *hub.MasterView) string {
	for _, ring := range identity.Rings() {
		for id, n := range v.Rings[ring].Records {
			if id != v.Rings[ring].Held[0] && n > 0 {
				return fmt.Sprintf("%d secrets of ring %s are sealed with %s in %s", n, ring, id, v.Region)
			}
		}
	}
	return ""
}

func (r *masterRotation) rewrap(ctx context.Context) (done int, err error) {
	c, err := r.a.client()
	if err != nil {
		return 0, err
	}
	path := "/v1/masters/rewrap?" + url.Values{"without": r.without}.Encode()
	for {
		var step hub.Rewrapped
		if err := c.Do(ctx, "POST", path, nil, &step); err != nil {
			return done, err
		}
		done += step.Done
		if step.Left == 0 {
			return done, nil
		}
		if step.Done == 0 {
			return done, errorWithHint(fmt.Errorf("%d secrets cannot be sealed anew", step.Left), "the hub's log names them; nothing else is touched")
		}
	}
}

func newKMSRetire(a *adminFlags) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "retire",
		Short: "Take master keys that seal nothing any more out of the files",
		Long: `retire leaves one key in each ring. It refuses while any region knows a secret that an old key sealed. Copies of the
control state from before the rotation, in backups too, can be read with the old keys alone: keep operator/master.age
and operator/seeds.age with those backups, or let both go.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			views, silent, err := a.masters(cmd.Context())
			if err != nil {
				return err
			}
			for _, v := range views {
				if why := sealedByOld(v); why != "" {
					silent = append(silent, why)
				}
			}
			if len(silent) > 0 {
				return errorWithHint(fmt.Errorf("old master keys are needed: %s", strings.Join(silent, "; ")), "run `weft kms rotate` to its end first")
			}
			for _, ring := range identity.Rings() {
				ids, err := identity.Masters(a.data, ring)
				if err != nil {
					return err
				}
				switch {
				case len(ids) == 1:
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %s alone, nothing to retire\n", ring, ids[0])
				case !yes:
					fmt.Fprintf(cmd.OutOrStdout(), "%s: would take %s away. Nothing was done; say --yes to do it\n", ring, strings.Join(ids[1:], ", "))
				default:
					if err := identity.RetireMasters(a.data, ring); err != nil {
						return err
					}
					fmt.Fprintf(cmd.OutOrStdout(), "%s: %s taken away\n", ring, strings.Join(ids[1:], ", "))
				}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}
