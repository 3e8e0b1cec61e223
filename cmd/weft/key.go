package main

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/cmd/weft/internal/app"
	"github.com/weft-mesh/weft/hub"
)

func newKeyCommand() *cobra.Command {
	var a adminFlags
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Add, rotate, revoke and list the keys that sign requests",
		Long: `A key signs the requests of one producer of one tenant. It is pending (known and not yet good), active, in its grace
period (replaced, still good until a time that is fixed), or revoked. It only moves forward, and revoked wins over
every change that a region which was cut off makes meanwhile. Any region takes these commands.`,
	}
	a.register(cmd)
	cmd.AddCommand(newKeyAdd(&a), newKeyActivate(&a), newKeyRotate(&a), newKeyRevoke(&a), newKeyList(&a))
	return cmd
}

// secretOut is where a key's secret is written: it is told once.
type secretOut struct{ out string }

func (s *secretOut) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.out, "out", "", "`file` for the secret, which must not exist, or - for standard output (default: DIR/tenants/TENANT/KID.key)")
}

// check refuses before a key is made what could not be written afterwards.
func (s *secretOut) check() error {
	if s.out == "" || s.out == "-" {
		return nil
	}
	if _, err := os.Lstat(s.out); !errors.Is(err, os.ErrNotExist) {
		return errorWithHint(fmt.Errorf("%s exists, or cannot be looked at", s.out), "name a file that does not exist: a secret is never overwritten")
	}
	return nil
}

// write stores the secret and says where it is, for a person.
func (s *secretOut) write(cmd *cobra.Command, data string, k *hub.IssuedKey) (string, error) {
	if k.Secret == "" {
		return "its private key stays with the producer", nil
	}
	file := s.out
	switch file {
	case "-":
		_, err := fmt.Fprintln(cmd.OutOrStdout(), k.Secret)
		return "secret on standard output", err
	case "":
		file = filepath.Join(data, app.KeyFile(k.Tenant, k.Kid))
	}
	have, err := secretfile.Create(file, []byte(k.Secret+"\n"))
	if err == nil && strings.TrimSpace(string(have)) != k.Secret {
		err = fmt.Errorf("%s was made meanwhile and holds another secret", file)
	}
	if err != nil {
		return "", errorWithHint(err, "the key "+k.Kid+" exists; revoke it if its secret is lost")
	}
	return "secret in " + file, nil
}

func newKeyAdd(a *adminFlags) *cobra.Command {
	var spec hub.KeySpec
	var from, publicFile string
	var out secretOut
	cmd := &cobra.Command{
		Use:   "add --tenant NAME",
		Short: "Make a key, and write its secret to a file",
		Long: `add makes a key of 32 random bytes. The secret goes to a file that its owner alone can read and is told to nobody else;
the mesh holds it sealed. A key is pending until ` + "`weft key activate`" + `, or the time of --active-from, or is active at
once with --active. A key id is never given twice.`,
		Example: `  weft key add --tenant acme --active
  weft key add --tenant acme --producer ledger --topic bets,payouts --out ledger.key
  weft key add --tenant acme --rotation-days 90 --grace-days 14 --active-from 2027-01-01T00:00:00Z`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if from != "" {
				if spec.ActiveFrom, err = time.Parse(time.RFC3339, from); err != nil {
					return usageErrorf("--active-from %q is no time such as 2027-01-01T00:00:00Z", from)
				}
			}
			if spec.PublicKey, err = readPublicKey(cmd, publicFile); err != nil {
				return err
			}
			if err := out.check(); err != nil {
				return err
			}
			var k hub.IssuedKey
			if err := a.do(cmd.Context(), "POST", "/v1/keys", spec, &k); err != nil {
				return err
			}
			where, err := out.write(cmd, a.data, &k)
			if err != nil {
				return err
			}
			w := cmd.ErrOrStderr()
			fmt.Fprintf(w, "key %s of %s/%s is %s, %s\n", k.Kid, k.Tenant, k.Producer, k.State, where)
			printWaiting(w, k.Waiting, "does not know the key yet")
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&spec.Tenant, "tenant", "", "whose key it is")
	f.StringVar(&spec.Kid, "kid", "", "id of the key (default: made up)")
	f.StringVar(&spec.Producer, "producer", "", "whose requests it signs; the client certificate must name the same (default: default)")
	f.StringSliceVar(&spec.Algorithms, "scheme", nil, "signature schemes that it may be used with (default: weft-v1): weft-v1, standard-webhooks, standard-webhooks-v1a, body")
	f.StringSliceVar(&spec.Topics, "topic", nil, "topics that it may send to (default: all)")
	f.BoolVar(&spec.Active, "active", false, "active at once")
	f.StringVar(&from, "active-from", "", "active from this time on, RFC 3339")
	f.IntVar(&spec.Rotation, "rotation-days", 0, "age at which a rotation is due, in days (default: 45)")
	f.IntVar(&spec.GraceDays, "grace-days", 0, "how long it is good after its rotation, in days (default: 7)")
	f.StringVar(&publicFile, "public-key", "", publicKeyUsage)
	out.register(cmd)
	_ = cmd.MarkFlagRequired("tenant")
	return cmd
}

const publicKeyUsage = "`file` with the producer's Ed25519 public key, in base64 or PEM (- for standard input), for the scheme standard-webhooks-v1a"

// readPublicKey reads a public key as Standard Webhooks writes it, with or without its prefix whpk_, or as openssl does.
func readPublicKey(cmd *cobra.Command, file string) (string, error) {
	if file == "" {
		return "", nil
	}
	raw, err := readInput(cmd.InOrStdin(), file)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(raw)
	if block == nil {
		return strings.TrimPrefix(strings.TrimSpace(string(raw)), "whpk_"), nil
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	ed, ok := public.(ed25519.PublicKey)
	if err != nil || !ok {
		return "", fmt.Errorf("%s holds no Ed25519 public key: `openssl pkey -pubout` writes that of a private key", file)
	}
	return base64.StdEncoding.EncodeToString(ed), nil
}

func newKeyActivate(a *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "activate KID",
		Short: "Make a pending key active",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var v hub.KeyView
			if err := a.do(cmd.Context(), "POST", "/v1/keys/"+url.PathEscape(args[0])+"/activate", nil, &v); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "key %s is %s\n", v.Kid, v.State)
			return nil
		},
	}
}

func newKeyRevoke(a *adminFlags) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "revoke KID",
		Short: "End a key everywhere, at once and for good",
		Long: `revoke refuses every further request that is signed with the key, in all regions, and takes its secret out of the control
state. It cannot be undone, and wins over whatever a region that is cut off does to the key meanwhile. Any region that
can be reached takes it; one that cannot follows when it is back. Without --yes it only tells what would happen.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			path := "/v1/keys/" + url.PathEscape(args[0]) + "/revoke"
			if !yes {
				path += "?dry_run=true"
			}
			var r hub.Revocation
			if err := c.Do(cmd.Context(), "POST", path, nil, &r); err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			left := "its producer keeps " + strings.Join(r.Left, ", ")
			if len(r.Left) == 0 {
				left = "its producer has no other key that is good: add one first with `weft key add`, or it is locked out"
			}
			if r.DryRun {
				fmt.Fprintf(w, "would revoke key %s of %s, which is %s; %s. Nothing was done; say --yes to do it\n", r.Kid, r.Tenant, r.Was, left)
				return nil
			}
			fmt.Fprintf(w, "revoked key %s of %s, which was %s\n", r.Kid, r.Tenant, r.Was)
			printWaiting(w, r.Waiting, "has not confirmed it")
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

func printWaiting(w io.Writer, waiting map[string]string, what string) {
	for _, r := range slices.Sorted(maps.Keys(waiting)) {
		fmt.Fprintf(w, "region %s %s (%s); it follows by itself\n", r, what, waiting[r])
	}
}

func newKeyList(a *adminFlags) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List keys with their state, age and when a rotation is due",
		Args:  cobra.NoArgs,
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "one tenant (default: all)")
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		list, err := a.keys(cmd, tenant)
		if err != nil {
			return err
		}
		if format.value != formatTable {
			return printValue(cmd.OutOrStdout(), format.value, list)
		}
		return printKeys(cmd.OutOrStdout(), list, time.Now())
	}
	return cmd
}

func (a *adminFlags) keys(cmd *cobra.Command, tenant string) ([]hub.KeyView, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	var list []hub.KeyView
	err = c.Do(cmd.Context(), "GET", "/v1/keys?tenant="+url.QueryEscape(tenant), nil, &list)
	return list, err
}

func printKeys(w io.Writer, list []hub.KeyView, now time.Time) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "KID\tTENANT\tPRODUCER\tSTATE\tAGE\tROTATION\tSCHEMES\tTOPICS")
	for _, k := range list {
		topics := "all"
		if len(k.Topics) > 0 {
			topics = strings.Join(k.Topics, ",")
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", k.Kid, k.Tenant, k.Producer, k.State, days(time.Duration(k.AgeSeconds)*time.Second),
			rotationOf(&k, now), strings.Join(k.Algorithms, ","), topics)
	}
	return tw.Flush()
}

// rotationOf says in a few words what comes next for a key.
func rotationOf(k *hub.KeyView, now time.Time) string {
	switch {
	case k.Due:
		return "overdue by " + days(now.Sub(k.DueAt))
	case !k.DueAt.IsZero():
		return "due in " + days(k.DueAt.Sub(now))
	case k.State == "grace":
		return "good for " + days(k.GraceUntil.Sub(now)) + ", replaced by " + k.ReplacedBy
	case k.State == "pending" && !k.ActiveFrom.IsZero():
		return "active in " + days(k.ActiveFrom.Sub(now))
	}
	return "-"
}

// days is a span of time in its largest whole unit.
func days(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	return accounts.Duration(d.Truncate(time.Second)).String()
}
