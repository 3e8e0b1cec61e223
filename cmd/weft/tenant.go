package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/cmd/weft/internal/adminclient"
	"github.com/weft-mesh/weft/cmd/weft/internal/app"
	"github.com/weft-mesh/weft/cmd/weft/internal/config"
	"github.com/weft-mesh/weft/cmd/weft/internal/meshfile"
	"github.com/weft-mesh/weft/hub"
)

// adminFlags find the admin API: through mesh.json, or by address.
type adminFlags struct {
	data  string
	admin []string
}

func (a *adminFlags) register(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&a.data, "data", defaultData(), "data directory of the mesh, with the operator's certificate and mesh.json (env WEFT_DATA)")
	cmd.PersistentFlags().StringSliceVar(&a.admin, "admin", nil, "admin addresses, https://host:port (default: from mesh.json)")
}

func defaultData() string {
	if d := os.Getenv("WEFT_DATA"); d != "" {
		return d
	}
	return "./weft-data"
}

func (a *adminFlags) client() (*adminclient.Client, error) {
	urls := a.admin
	if len(urls) == 0 {
		m, err := meshfile.Read(a.data)
		if err != nil {
			return nil, err
		}
		for _, r := range m.Regions {
			urls = append(urls, r.Admin)
		}
	}
	return adminclient.New(a.data, urls)
}

// do is one call of the admin API.
func (a *adminFlags) do(ctx context.Context, method, path string, in, out any) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	return c.Do(ctx, method, path, in, out)
}

// all are the admin addresses of every server that is known.
func (a *adminFlags) all() ([]string, error) {
	if len(a.admin) > 0 {
		return a.admin, nil
	}
	m, err := meshfile.Read(a.data)
	if err != nil {
		return nil, err
	}
	var urls []string
	for _, r := range m.Regions {
		if len(r.Admins) == 0 {
			urls = append(urls, r.Admin)
		}
		urls = append(urls, r.Admins...)
	}
	return urls, nil
}

func newTenantCommand() *cobra.Command {
	var a adminFlags
	cmd := &cobra.Command{
		Use:   "tenant",
		Short: "Add, list and remove tenants of a running mesh",
	}
	a.register(cmd)
	cmd.AddCommand(newTenantAdd(&a), newTenantList(&a), newTenantRoutes(&a), newTenantRemove(&a), newTenantCert(&a))
	return cmd
}

func newTenantAdd(a *adminFlags) *cobra.Command {
	var regions []string
	var routesFile string
	disk := config.ByteSize(0)
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a tenant in all its regions while the mesh runs",
		Long: `add makes an account of its own, a signing key, a client certificate, credentials and streams in every region, and
writes the tenant's files to DIR/tenants/NAME. The secret and the private key are shown to nobody else: the mesh keeps
the one sealed and the other not at all. Other tenants' connections are not touched.`,
		Example: "  weft tenant add initech\n  weft tenant add initech --disk 10GiB --in eu --routes routes.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec := hub.TenantSpec{Name: args[0], Regions: regions, Limits: accounts.Limits{DiskBytes: int64(disk)}}
			if routesFile != "" {
				raw, err := os.ReadFile(routesFile)
				if err != nil {
					return err
				}
				if err := json.Unmarshal(raw, &spec.Routes); err != nil {
					return fmt.Errorf("%s: %w", routesFile, err)
				}
			}
			return a.add(cmd, spec)
		},
	}
	cmd.Flags().StringSliceVar(&regions, "in", nil, "residency: regions where the tenant may be (default: all)")
	cmd.Flags().Var(&disk, "disk", "disk that the tenant may use in each region (default: the mesh's)")
	cmd.Flags().StringVar(&routesFile, "routes", "", "JSON file with topics and rules (default: one topic, events)")
	return cmd
}

func (a *adminFlags) add(cmd *cobra.Command, spec hub.TenantSpec) error {
	var b hub.Bundle
	if err := a.do(cmd.Context(), "POST", "/v1/tenants", spec, &b); err != nil {
		return err
	}
	t, err := app.WriteBundle(a.data, &b)
	if err != nil {
		return err
	}
	if len(a.admin) == 0 {
		if err := meshfile.UpsertTenant(a.data, t); err != nil {
			return err
		}
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "tenant %s added: key %s, files in %s/tenants/%s\n", b.Tenant, b.Kid, a.data, b.Tenant)
	for _, r := range slices.Sorted(maps.Keys(b.Waiting)) {
		fmt.Fprintf(out, "region %s is not ready yet (%s); it follows by itself\n", r, b.Waiting[r])
	}
	return nil
}

func newTenantList(a *adminFlags) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List tenants and what each region says of them",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var list []hub.TenantView
			if err := a.do(cmd.Context(), "GET", "/v1/tenants", nil, &list); err != nil {
				return err
			}
			if format == "json" {
				return printJSON(cmd.OutOrStdout(), list)
			}
			return printTenants(cmd.OutOrStdout(), list)
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "table", "table or json")
	return cmd
}

func printTenants(w io.Writer, list []hub.TenantView) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tKEYS\tREGIONS\tDISK\tSINCE")
	for _, t := range list {
		var regions []string
		for _, r := range slices.Sorted(maps.Keys(t.Regions)) {
			regions = append(regions, r+": "+t.Regions[r])
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", t.Name, strings.Join(t.Keys, ","), strings.Join(regions, "; "), config.ByteSize(t.DiskBytes), t.CreatedAt.Format("2006-01-02 15:04"))
	}
	return tw.Flush()
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

func newTenantRoutes(a *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "routes NAME [FILE]",
		Short: "Show a tenant's topics and rules, or replace them",
		Long: `routes prints the tenant's routing table as JSON; with FILE (or - for standard input) it replaces the table. The first
rule whose pattern matches an event's type decides its topic (* is one token, > the rest); what no rule matches goes to
the default topic. Relays use the new table within seconds; stored events stay in the topics that they have.`,
		Example: "  weft tenant routes acme > routes.json\n  weft tenant routes acme routes.json",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			method, body := "GET", any(nil)
			if len(args) == 2 {
				raw, err := readInput(cmd.InOrStdin(), args[1])
				if err != nil {
					return err
				}
				method, body = "PUT", json.RawMessage(raw)
			}
			var routes accounts.Routes
			if err := c.Do(cmd.Context(), method, "/v1/tenants/"+url.PathEscape(args[0])+"/routes", body, &routes); err != nil {
				return err
			}
			return printJSON(cmd.OutOrStdout(), routes)
		},
	}
}

// readInput reads a file, or standard input for "-".
func readInput(stdin io.Reader, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(stdin)
	}
	return os.ReadFile(name)
}

func newTenantRemove(a *adminFlags) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "rm NAME",
		Short: "Remove a tenant from all regions, with its events",
		Long: `rm ends a tenant everywhere: its keys are refused, its connections closed, its streams deleted with what is in them.
It cannot be undone, and the name is never used again. Without --yes it only tells what would happen.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			path := "/v1/tenants/" + url.PathEscape(args[0])
			if !yes {
				path += "?dry_run=true"
			}
			var r hub.Removal
			if err := c.Do(cmd.Context(), "DELETE", path, nil, &r); err != nil {
				return err
			}
			return a.removed(cmd.OutOrStdout(), &r)
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

func (a *adminFlags) removed(w io.Writer, r *hub.Removal) error {
	what := fmt.Sprintf("keys %s, %d events (%s in one region), regions %s", strings.Join(r.Keys, ","), r.Events, config.ByteSize(r.Bytes), strings.Join(r.Regions, ", "))
	if r.DryRun {
		fmt.Fprintf(w, "would remove tenant %s: %s. Nothing was done; say --yes to do it\n", r.Tenant, what)
		return nil
	}
	if len(a.admin) == 0 {
		if err := meshfile.RemoveTenant(a.data, r.Tenant); err != nil {
			return err
		}
	}
	if err := app.RemoveBundle(a.data, r.Tenant); err != nil {
		return err
	}
	fmt.Fprintf(w, "removed tenant %s: %s\n", r.Tenant, what)
	return nil
}
