package main

import (
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/weft-mesh/weft/accounts"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/accounts/secretfile"
	"github.com/weft-mesh/weft/hub"
)

func newTenantCert(a *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cert",
		Short: "Issue, revoke and list a tenant's client certificates",
		Long: `A producer shows a client certificate to the relay; the SPIFFE URI in it names its tenant and producer. Certificates
live short (24 h unless --ttl says otherwise) and are renewed by issuing the next one into the same files: clients that
follow their files, as weft send does, take it up without a new connection being lost.`,
	}
	cmd.AddCommand(newCertIssue(a), newCertRevoke(a), newCertList(a))
	return cmd
}

func certificatesPath(tenant string) string {
	return "/v1/tenants/" + url.PathEscape(tenant) + "/certificates"
}

func newCertIssue(a *adminFlags) *cobra.Command {
	var producer, out string
	ttl := hub.DefaultCertificateTTL
	cmd := &cobra.Command{
		Use:   "issue TENANT",
		Short: "Make a key here and have the mesh certify it",
		Long: `issue makes a key pair on this machine, has the mesh's authority certify it, and writes both files, the key before the
certificate. The private key never leaves this machine. Certificates that were issued before stay valid until they run
out or are revoked.`,
		Example: "  weft tenant cert issue acme\n  weft tenant cert issue acme --producer game-1 --ttl 12h --out /etc/producer",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			request, key, err := pki.NewRequest()
			if err != nil {
				return err
			}
			var v hub.CertificateView
			spec := hub.CertificateSpec{Request: string(request), Producer: producer, TTL: accounts.Duration(ttl)}
			if err := c.Do(cmd.Context(), "POST", certificatesPath(args[0]), spec, &v); err != nil {
				return err
			}
			if out == "" {
				out = filepath.Join(a.data, "tenants", args[0])
			}
			name := "client"
			if producer != "default" {
				name += "-" + producer
			}
			certFile, keyFile := filepath.Join(out, name+".pem"), filepath.Join(out, name+"-key.pem")
			if err := secretfile.Dir(out); err != nil {
				return err
			}
			if err := secretfile.Replace(keyFile, key.Bytes()); err != nil {
				return err
			}
			if err := secretfile.Replace(certFile, []byte(v.Certificate)); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "certificate %s of tenant %s, producer %s, until %s: %s and %s\n",
				v.Serial, v.Tenant, v.Producer, v.NotAfter.Format(time.RFC3339), certFile, keyFile)
			return nil
		},
	}
	cmd.Flags().StringVar(&producer, "producer", "default", "producer that the certificate speaks for")
	cmd.Flags().DurationVar(&ttl, "ttl", ttl, "time to live, 1m to 720h")
	cmd.Flags().StringVar(&out, "out", "", "directory for the files (default: the tenant's, below --data)")
	return cmd
}

func newCertRevoke(a *adminFlags) *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "revoke TENANT SERIAL",
		Short: "End a certificate in all regions",
		Long: `revoke ends a certificate: relays of every region refuse it on new, resumed and open connections within seconds. It
cannot be undone. Without --yes it only tells what would happen.`,
		Example: "  weft tenant cert ls acme\n  weft tenant cert revoke acme 5f3a… --yes",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			path := certificatesPath(args[0]) + "/" + url.PathEscape(args[1])
			if !yes {
				path += "?dry_run=true"
			}
			var v hub.CertificateView
			if err := c.Do(cmd.Context(), "DELETE", path, nil, &v); err != nil {
				return err
			}
			what := fmt.Sprintf("certificate %s of tenant %s, producer %s, issued %s by %s", v.Serial, v.Tenant, v.Producer, v.IssuedAt.Format(time.RFC3339), v.By)
			if v.DryRun {
				fmt.Fprintf(cmd.OutOrStdout(), "would revoke %s. Nothing was done; say --yes to do it\n", what)
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "revoked %s\n", what)
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do it")
	return cmd
}

func newCertList(a *adminFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ls TENANT",
		Short: "List a tenant's certificates, the newest first",
		Args:  cobra.ExactArgs(1),
	}
	format := outputFlag(cmd, formatTable, formatJSON, formatYAML)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		list := []hub.CertificateView{}
		if err := c.Do(cmd.Context(), "GET", certificatesPath(args[0]), nil, &list); err != nil {
			return err
		}
		if format.value != formatTable {
			return printValue(cmd.OutOrStdout(), format.value, list)
		}
		return printCertificates(cmd.OutOrStdout(), list)
	}
	return cmd
}

func printCertificates(w io.Writer, list []hub.CertificateView) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "SERIAL\tPRODUCER\tSTATE\tISSUED\tEXPIRES")
	for _, c := range list {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", c.Serial, c.Producer, c.State, c.IssuedAt.Format("2006-01-02 15:04"), c.NotAfter.Format("2006-01-02 15:04"))
	}
	return tw.Flush()
}
