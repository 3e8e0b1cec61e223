package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/accounts/keyring"
	"github.com/weft-mesh/weft/accounts/pki"
	"github.com/weft-mesh/weft/cmd/internal/child"
	"github.com/weft-mesh/weft/cmd/weft/internal/meshfile"
	"github.com/weft-mesh/weft/streams/fault"
)

// mesh is what is measured: one of our own, in a process beside this one so that its costs are its own, or one that
// runs already.
type mesh struct {
	file *meshfile.Mesh
	dir  string
	pid  int // of the own mesh; 0: its costs cannot be seen
	what string
	end  func()
}

const (
	startWait  = 2 * time.Minute
	tenantWait = time.Second // more of it for each tenant
	stopWait   = 40 * time.Second
)

// open starts the own mesh with these tenants, or finds the target.
func open(ctx context.Context, o *Options, tenants []string) (*mesh, error) {
	if o.Target != "" {
		dir := o.Target
		if filepath.Base(dir) == meshfile.FileName {
			dir = filepath.Dir(dir)
		}
		file, err := meshfile.Read(dir)
		if err != nil {
			return nil, err
		}
		return &mesh{file: file, dir: dir, what: "a running mesh of " + plural(len(file.Regions), "region"), end: func() {}}, nil
	}
	dir, err := os.MkdirTemp(o.Dir, "weft-bench-")
	if err != nil {
		return nil, err
	}
	base, err := freePorts(len(o.Regions))
	if err != nil {
		return nil, err
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, o.Binary, "up", "--data", dir, "--port-base", strconv.Itoa(base), "--regions", strings.Join(o.Regions, ","),
		"--servers", strconv.Itoa(o.Servers), "--sync", o.Sync, "--tenants", strings.Join(tenantDisks(dir, len(o.Regions), tenants), ","), "--log-level", "error")
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = &said, &said, child.Attr()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopWait
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	done := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
	m := &mesh{dir: dir, pid: cmd.Process.Pid}
	m.what = fmt.Sprintf("%s of %s that replicate to each other, one process, TLS on every path, sync %s", plural(len(o.Regions), "region"), plural(o.Servers, "server"), o.Sync)
	m.end = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(stopWait):
			_ = cmd.Process.Kill()
			<-done
		}
		_ = os.RemoveAll(dir)
	}
	if m.file, err = awaitMesh(ctx, dir, len(tenants), done); err != nil {
		m.end()
		return nil, fault.New("bench.mesh", fault.Unavailable, "mesh_failed", "the mesh did not start (%v): %s", err, tail(said.String()))
	}
	return m, nil
}

// tenantDisks divides what a benchmark may take of the disk: half of what is free, for every region has a copy. Half of
// that is the first tenant's, which is measured alone, too.
func tenantDisks(dir string, regions int, tenants []string) []string {
	const most, least = 24 << 30, 16 << 20
	share := int64(most)
	var st unix.Statfs_t
	if unix.Statfs(dir, &st) == nil {
		share = min(share, int64(st.Bavail)*int64(st.Bsize)/int64(2*regions)) //nolint:gosec // far from overflow
	}
	out := make([]string, len(tenants))
	for i, name := range tenants {
		disk := share
		if len(tenants) > 1 {
			disk = share / 2
		}
		if i > 0 {
			disk /= int64(len(tenants) - 1)
		}
		out[i] = name + "=" + strconv.FormatInt(max(disk, least), 10)
	}
	return out
}

// awaitMesh waits for the file that a mesh writes when it is ready.
func awaitMesh(ctx context.Context, dir string, tenants int, ended <-chan struct{}) (*meshfile.Mesh, error) {
	ctx, cancel := context.WithTimeout(ctx, startWait+time.Duration(tenants)*tenantWait)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if file, err := meshfile.Read(dir); err == nil && len(file.Tenants) >= tenants {
			return file, nil
		}
		select {
		case <-ended:
			return nil, errors.New("its process ended")
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick.C:
		}
	}
}

func tail(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// freePorts finds a base from which `weft up` can count.
func freePorts(regions int) (int, error) {
	for base := 20_000; base < 60_000; base += 1000 {
		free := true
		for r := range regions {
			for _, of := range []int{22, 32, 43, 80, 90} {
				l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(base+400+100*r+of)))
				if err != nil {
					free = false
					break
				}
				_ = l.Close()
			}
		}
		if free {
			return base, nil
		}
	}
	return 0, fault.New("bench.mesh", fault.Unavailable, "no_ports", "no free ports for %d regions", regions)
}

// names are the tenants whose credentials are at hand.
func (m *mesh) names() []string {
	out := make([]string, len(m.file.Tenants))
	for i, t := range m.file.Tenants {
		out[i] = t.Name
	}
	return out
}

// endpoint is where and as whom one tenant sends into one region.
type endpoint struct {
	host   string // host:port of the relay
	tls    *tls.Config
	kid    string
	secret keyring.Secret
}

func (m *mesh) endpoint(region, tenant string) (*endpoint, error) {
	r, err := m.file.Region(region)
	if err != nil {
		return nil, err
	}
	t, err := m.file.Tenant(tenant)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(r.Relay)
	if err != nil {
		return nil, err
	}
	secret, err := meshfile.ReadSecret(t.SecretFile)
	if err != nil {
		return nil, err
	}
	c, err := pki.ClientTLS(t.ClientCert, t.ClientKey, m.file.Path(m.file.CA))
	if err != nil {
		return nil, err
	}
	c.ServerName, _, _ = net.SplitHostPort(u.Host)
	c.NextProtos = []string{"http/1.1"}
	return &endpoint{host: u.Host, tls: c, kid: t.Kid, secret: secret}, nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
