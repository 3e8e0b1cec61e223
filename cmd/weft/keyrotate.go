package main

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/cmd/weft/internal/app"
	"github.com/weft-mesh/weft/hub"
)

// rotateCall is one run of `weft key rotate`.
type rotateCall struct {
	spec   hub.RotateSpec
	out    secretOut
	due    bool
	yes    bool
	tenant string
}

func newKeyRotate(a *adminFlags) *cobra.Command {
	var call rotateCall
	var grace, at, publicFile string
	cmd := &cobra.Command{
		Use:   "rotate KID | rotate --due",
		Short: "Replace a key; the old one stays good for its grace period",
		Long: `rotate makes a key with the same owner and scopes, waits until every region and relay knows it, makes it active, and puts
the old one into its grace period, in which both are good. When a region does not answer the old key stays as it is;
run the same command again when it does, or go on --without it. With --at nothing is waited for: the keys change
places at that time, also in a region that is cut off by then.

The secret has to be brought to the producer within the grace period: the mesh cannot do that. --due replaces every
key whose rotation is due; without --yes it only tells which.`,
		Example: `  weft key rotate acme-1
  weft key rotate acme-1 --grace 1h --out new.key
  weft key rotate --due --yes`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if call.due == (len(args) == 1) {
				return usageErrorf("name one key, or say --due")
			}
			if cmd.Flags().Changed("grace") {
				d, err := accounts.ParseDuration(grace)
				if err != nil || d < 0 {
					return usageErrorf("--grace %q is no duration such as 12h or 7d", grace)
				}
				call.spec.Grace = &d
			}
			if at != "" {
				var err error
				if call.spec.At, err = time.Parse(time.RFC3339, at); err != nil {
					return usageErrorf("--at %q is no time such as 2027-01-01T00:00:00Z", at)
				}
			}
			var err error
			if call.spec.PublicKey, err = readPublicKey(cmd, publicFile); err != nil {
				return err
			}
			if call.due {
				return a.rotateDue(cmd, &call)
			}
			return a.rotate(cmd, &call, args[0])
		},
	}
	f := cmd.Flags()
	f.StringVar(&grace, "grace", "", "how long the old key stays good (default: the key's grace period, 7d)")
	f.StringVar(&at, "at", "", "change the keys at this time, RFC 3339, instead of as soon as all know")
	f.StringSliceVar(&call.spec.Without, "without", nil, "regions that need not know the new key: it is refused there until they do")
	f.BoolVar(&call.due, "due", false, "every key whose rotation is due")
	f.StringVar(&call.tenant, "tenant", "", "with --due: keys of one tenant")
	f.BoolVar(&call.yes, "yes", false, "with --due: do it")
	f.StringVar(&publicFile, "public-key", "", publicKeyUsage)
	call.out.register(cmd)
	return cmd
}

func (a *adminFlags) rotateDue(cmd *cobra.Command, call *rotateCall) error {
	if call.out.out != "" && call.out.out != "-" {
		return usageErrorf("with --due the secrets go to DIR/tenants: --out names one file")
	}
	list, err := a.keys(cmd, call.tenant)
	if err != nil {
		return err
	}
	n, failed := 0, []error(nil)
	for _, k := range list {
		if !k.Due {
			continue
		}
		n++
		if !call.yes {
			fmt.Fprintf(cmd.OutOrStdout(), "would rotate %s of %s/%s, overdue by %s\n", k.Kid, k.Tenant, k.Producer, days(time.Since(k.DueAt)))
			continue
		}
		if err := a.rotate(cmd, call, k.Kid); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", k.Kid, err))
		}
	}
	switch {
	case n == 0:
		fmt.Fprintln(cmd.OutOrStdout(), "no rotation is due")
	case !call.yes:
		fmt.Fprintln(cmd.OutOrStdout(), "Nothing was done; say --yes to do it")
	}
	return errors.Join(failed...)
}

func (a *adminFlags) rotate(cmd *cobra.Command, call *rotateCall, kid string) error {
	if err := call.out.check(); err != nil {
		return err
	}
	var k hub.IssuedKey
	if err := a.do(cmd.Context(), "POST", "/v1/keys/"+url.PathEscape(kid)+"/rotate", call.spec, &k); err != nil {
		return err
	}
	where, err := call.out.write(cmd, a.data, &k)
	if err != nil {
		return err
	}
	w := cmd.ErrOrStderr()
	when := "is " + string(k.State)
	if !call.spec.At.IsZero() {
		when = "is active from " + call.spec.At.UTC().Format(time.RFC3339)
	}
	next := "bring it to"
	if k.Secret == "" {
		next = "tell its id to"
	}
	fmt.Fprintf(w, "key %s replaces %s and %s, %s; %s %s/%s before the old key's grace period ends\n", k.Kid, kid, when, where, next, k.Tenant, k.Producer)
	printWaiting(w, k.Waiting, "does not know it yet")
	if call.out.out == "" && call.spec.At.IsZero() && len(a.admin) == 0 {
		switched, err := app.SwitchKey(a.data, k.Tenant, kid, k.Kid)
		if err != nil {
			return err
		}
		if switched {
			fmt.Fprintf(w, "%s names the new key for %s now\n", filepath.Join(a.data, "mesh.json"), k.Tenant)
		}
	}
	return nil
}
