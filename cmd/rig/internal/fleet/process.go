package fleet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/cmd/internal/child"
)

// Process is one process of the fleet. A process that ends although nobody wanted it to is started again, as
// a supervisor of the field would; Crashes counts that.
type Process struct {
	Name   string
	Role   string // "hub", "relay" or "ledger"
	Region string
	Server int

	bin  string
	args []string
	env  []string // beyond the rig's own
	log  string
	url  string // answers 200 when the process serves; "" for one that is ready when it runs

	mu      sync.Mutex
	cmd     *exec.Cmd
	gone    chan struct{} // closed when cmd has ended
	want    bool          // it should run
	crashes int
	wg      sync.WaitGroup

	away time.Time // since when what it stored may not be on its disk, because it did not run; zero: it is
	back time.Time // when it ran again
}

// Settle is how long a hub that runs may hold what is not on its disk: a second, and what one round of syncing takes.
const Settle = 2 * time.Second

// settled says that the process runs, and has for long enough to have synced what it held when it came back.
func (p *Process) settled() bool {
	return p.away.IsZero() || p.back.After(p.away) && time.Since(p.back) > Settle
}

// left notes that the process can sync no more. Who left before all was on disk is away since then.
func (p *Process) left() {
	if p.settled() {
		p.away = time.Now()
	}
}

// ended notes an end; a hub that ends in order syncs its store.
func (p *Process) ended(clean bool) {
	if clean {
		p.away = time.Time{}
	} else {
		p.left()
	}
}

// Unsynced is how long ago that was stored what may not be on disk now, at most.
func (p *Process) Unsynced() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.settled() {
		return Settle
	}
	return time.Since(p.away) + Settle
}

// restartPause is what a supervisor waits before it starts a process that ended by itself.
const restartPause = 300 * time.Millisecond

// Start runs the process; one that runs already is left alone.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.want = true
	return p.startLocked()
}

func (p *Process) startLocked() error {
	if p.cmd != nil {
		return nil
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.bin, p.args...) //nolint:gosec // our own binary
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(os.Environ(), p.env...)
	cmd.SysProcAttr = child.Attr()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	p.cmd, p.gone, p.back = cmd, make(chan struct{}), time.Now()
	gone := p.gone
	p.wg.Go(func() { p.watch(cmd, gone) })
	return nil
}

func (p *Process) watch(cmd *exec.Cmd, gone chan struct{}) {
	clean := cmd.Wait() == nil // how it ended stands in its log
	p.mu.Lock()
	p.cmd = nil
	p.ended(clean)
	again := p.want
	if again {
		p.crashes++
	}
	close(gone)
	p.mu.Unlock()
	if !again {
		return
	}
	time.AfterFunc(restartPause, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.want {
			_ = p.startLocked() // the next look at readiness tells
		}
	})
}

// Kill ends the process at once, as a crash does, and returns when it is gone.
func (p *Process) Kill() { p.end(syscall.SIGKILL, 0) }

// Terminate asks the process to leave and kills it when it does not within grace.
func (p *Process) Terminate(grace time.Duration) { p.end(syscall.SIGTERM, grace) }

func (p *Process) end(sig syscall.Signal, grace time.Duration) {
	p.mu.Lock()
	p.want = false
	cmd, gone := p.cmd, p.gone
	if cmd != nil {
		_ = cmd.Process.Signal(sig)
	}
	p.mu.Unlock()
	if cmd == nil {
		return
	}
	if sig == syscall.SIGTERM {
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-gone:
			return
		case <-t.C:
			_ = cmd.Process.Kill()
		}
	}
	<-gone
}

// Pause stops the process without ending it; Resume lets it go on.
func (p *Process) Pause() { p.signal(syscall.SIGSTOP, p.left) }

// Resume undoes Pause.
func (p *Process) Resume() { p.signal(syscall.SIGCONT, func() { p.back = time.Now() }) }

func (p *Process) signal(sig syscall.Signal, note func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(sig)
		note()
	}
}

// SetEnv sets the environment of the next start.
func (p *Process) SetEnv(env ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.env = env
}

// Crashes is how often the process ended by itself.
func (p *Process) Crashes() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.crashes
}

// Running says whether there is a process now.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil
}

var healthClient = &http.Client{Timeout: 2 * time.Second}

// Ready is nil when the process serves.
func (p *Process) Ready() error {
	if p.url == "" {
		if p.Running() {
			return nil
		}
		return errors.New(p.Name + " does not run")
	}
	resp, err := healthClient.Get(p.url) //nolint:noctx // bounded by the client
	if err != nil {
		return fmt.Errorf("%s: %w", p.Name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", p.Name, reasons(resp))
	}
	return nil
}

// AwaitReady polls until the process serves or ctx ends.
func (p *Process) AwaitReady(ctx context.Context) error {
	for {
		err := p.Ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready in time: %w", err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
