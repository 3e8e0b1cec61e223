package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/cmd/weft/internal/adminclient"
	"github.com/weft-mesh/weft/hub"
)

// serverStatus is what one server says of itself, or why it says nothing.
type serverStatus struct {
	Admin string `json:"admin"`
	hub.Status
	Error string `json:"error,omitempty"`
}

// state is one word for the table.
func (s *serverStatus) state() string {
	switch {
	case s.Error != "":
		return "unreachable"
	case s.Open:
		return "open"
	case len(s.Losses) > 0:
		return "CLOSED"
	default:
		return "waiting"
	}
}

func newHubStatus() *cobra.Command {
	var a adminFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show which regions are open for writes, and why one is not",
		Long: `status asks every server of mesh.json, or those that --admin names, where it stands: under which origin its region
writes, whether it is open, what it lost, and which other regions it waits for.

CLOSED: the region lost data that others were given; weft hub rejoin brings it back. waiting: it starts, or cannot
tell whether it lost something because another region does not answer; it goes on by itself when that one does.
Exits 3 when a server is not open or cannot be reached.`,
		Example: "  weft hub status\n  weft hub status --admin https://10.0.0.1:18480,https://10.1.0.1:18480 -o json",
		Args:    cobra.NoArgs,
	}
	a.register(cmd)
	format := outputFlag(cmd, formatTable, formatJSON)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list, err := a.statuses(cmd.Context())
		if err != nil {
			return err
		}
		if format.value == formatJSON {
			err = printJSON(cmd.OutOrStdout(), list)
		} else {
			err = printStatuses(cmd.OutOrStdout(), list)
		}
		if err != nil {
			return err
		}
		return judgeStatuses(list)
	}
	return cmd
}

// statuses asks all servers at once, in the order of their addresses.
func (a *adminFlags) statuses(ctx context.Context) ([]serverStatus, error) {
	urls, err := a.all()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	list := make([]serverStatus, len(urls))
	var wg sync.WaitGroup
	for i, url := range urls {
		c, err := adminclient.New(a.data, []string{url})
		if err != nil {
			return nil, err
		}
		wg.Go(func() {
			list[i].Admin = url
			if err := c.Do(ctx, "GET", "/v1/status", nil, &list[i].Status); err != nil {
				list[i].Error = errorText(err)
			}
		})
	}
	wg.Wait()
	return list, nil
}

func printStatuses(w io.Writer, list []serverStatus) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "REGION\tSERVER\tORIGIN\tSTATE\tADMIN")
	for _, s := range list {
		if s.Error != "" {
			fmt.Fprintf(tw, "?\t?\t?\t%s\t%s\n", s.state(), s.Admin)
			continue
		}
		fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%s\n", s.Region, s.Server, s.Origin, s.state(), s.Admin)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for i := range list {
		printWhy(w, &list[i])
	}
	return nil
}

// printWhy tells what keeps a server from being open, and what an operator decided about an open one.
func printWhy(w io.Writer, s *serverStatus) {
	switch {
	case s.Error != "":
		fmt.Fprintf(w, "\n%s: %s\n", s.Admin, s.Error)
		return
	case !s.Open:
		fmt.Fprintf(w, "\n%s server %d: %s\n", s.Region, s.Server, s.Why)
	case s.Why != "":
		fmt.Fprintf(w, "\n%s server %d is open, but: %s\n", s.Region, s.Server, s.Why)
	}
	for _, l := range s.Losses {
		fmt.Fprintf(w, "  lost: %s\n", l.String())
	}
	for _, peer := range slices.Sorted(maps.Keys(s.Silent)) {
		if by, ok := s.Waived[peer]; ok {
			fmt.Fprintf(w, "  %s was done without by %s\n", peer, by)
			continue
		}
		if !s.Open {
			fmt.Fprintf(w, "  no answer from %s: %s\n", peer, s.Silent[peer])
		}
	}
}

// judgeStatuses is the exit code of status.
func judgeStatuses(list []serverStatus) error {
	var closed, gone []string
	for _, s := range list {
		switch {
		case s.Error != "":
			gone = append(gone, s.Admin)
		case !s.Open && !slices.Contains(closed, s.Region):
			closed = append(closed, s.Region)
		}
	}
	switch {
	case len(list) > 0 && len(gone) == len(list):
		return fmt.Errorf("no server answers at %s: are the hubs running?", strings.Join(gone, ", "))
	case len(closed) > 0:
		return problemsFoundf("not open for writes: %s", strings.Join(closed, ", "))
	case len(gone) > 0:
		return problemsFoundf("no answer from %s", strings.Join(gone, ", "))
	}
	return nil
}
