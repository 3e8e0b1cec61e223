package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

// Server serves /livez, /readyz, /metrics and /debug/pprof/ over plain HTTP: bind it where only operators
// come. A process is ready when every named check says so; with no check it is ready once started.
type Server struct {
	Registry *prometheus.Registry // what /metrics shows; Go, process and build metrics are in it already

	listener net.Listener // nil: nothing is served
	http     *http.Server
	log      *zap.Logger
	served   chan struct{} // closed when the serving goroutine has ended
	started  sync.Once

	mu     sync.Mutex // held for checks
	checks []check
}

type check struct {
	name  string
	ready func() error
}

// New binds addr (host:port, port 0 picks one); "" makes a Server that serves nothing.
func New(addr string, log *zap.Logger) (*Server, error) {
	s := &Server{Registry: prometheus.NewRegistry(), log: log, served: make(chan struct{})}
	b := BuildInfo()
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "weft_build_info", Help: "Which weft this is; the value is always 1.",
		ConstLabels: prometheus.Labels{"version": b.Version, "revision": b.Revision, "goversion": b.Go},
	})
	info.Set(1)
	s.Registry.MustRegister(info, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if addr == "" {
		return s, nil
	}
	l, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fault.New("telemetry.new", fault.Conflict, "address_taken", "metrics address %s is taken by another process: stop it, or choose another address", addr)
	}
	if err != nil {
		return nil, fault.New("telemetry.new", fault.Invalid, "bad_address", "cannot listen on metrics address %s: %v", addr, err)
	}
	s.listener = l
	s.http = &http.Server{
		Handler: s.handler(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: zap.NewStdLog(log.Named("metrics")),
	}
	return s, nil
}

// Addr is where the server listens, "" when it serves nothing.
func (s *Server) Addr() string {
	if s.listener == nil {
		return ""
	}
	return s.listener.Addr().String()
}

// Check adds a condition of readiness; its error is shown as the reason. It is called at every /readyz and
// must return at once.
func (s *Server) Check(name string, ready func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks = append(s.checks, check{name, ready})
}

// Start begins to serve; called again it does nothing.
func (s *Server) Start() error {
	s.started.Do(func() {
		if s.listener == nil {
			close(s.served)
			return
		}
		go func() {
			defer close(s.served)
			if err := s.http.Serve(s.listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
				s.log.Error("metrics listener ended", zap.String("addr", s.Addr()), zap.Error(err))
			}
		}()
	})
	return nil
}

// Stop ends the listener, waiting for open requests until ctx ends. It may be called without Start, and
// more than once.
func (s *Server) Stop(ctx context.Context) error {
	neverStarted := false
	s.started.Do(func() { neverStarted = true; close(s.served) })
	if s.listener == nil {
		return nil
	}
	if neverStarted {
		return s.listener.Close()
	}
	err := s.http.Shutdown(ctx)
	if err != nil { // a profile can take minutes; the process will not wait for it
		err = s.http.Close()
	}
	<-s.served
	return err
}

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.Registry, promhttp.HandlerOpts{Registry: s.Registry, EnableOpenMetrics: true}))
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// readyz answers 200 "ready", or 503 with a line for every check that fails; ?verbose shows all of them.
func (s *Server) readyz(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	checks := slices.Clone(s.checks)
	s.mu.Unlock()
	verbose := r.URL.Query().Has("verbose")
	var lines strings.Builder
	status, verdict := http.StatusOK, "ready\n"
	for _, c := range checks {
		if err := c.ready(); err != nil {
			status, verdict = http.StatusServiceUnavailable, "not ready\n"
			fmt.Fprintf(&lines, "[-] %s: %v\n", c.name, err)
		} else if verbose {
			fmt.Fprintf(&lines, "[+] %s\n", c.name)
		}
	}
	plain(w, status, verdict+lines.String())
}

func plain(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}
