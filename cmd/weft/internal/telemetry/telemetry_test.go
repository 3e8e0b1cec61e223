package telemetry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func started(t *testing.T) *Server {
	t.Helper()
	s, err := New("127.0.0.1:0", zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Start(), s.Start()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		if err := errors.Join(s.Stop(t.Context()), s.Stop(context.Background())); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	return s
}

func get(t *testing.T, s *Server, path string) (int, string) {
	t.Helper()
	res, err := http.Get("http://" + s.Addr() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestHealth(t *testing.T) {
	s := started(t)
	if code, body := get(t, s, "/livez"); code != 200 || body != "ok\n" {
		t.Errorf("livez %d %q", code, body)
	}
	if code, body := get(t, s, "/readyz"); code != 200 || body != "ready\n" {
		t.Errorf("readyz without checks: %d %q", code, body)
	}
	var down atomic.Bool
	down.Store(true)
	s.Check("store", func() error { return nil })
	s.Check("link us", func() error {
		if down.Load() {
			return errors.New("no contact for 12s")
		}
		return nil
	})
	if code, body := get(t, s, "/readyz"); code != 503 || body != "not ready\n[-] link us: no contact for 12s\n" {
		t.Errorf("readyz %d %q", code, body)
	}
	if code, body := get(t, s, "/readyz?verbose"); code != 503 || !strings.Contains(body, "[+] store\n") {
		t.Errorf("readyz?verbose %d %q", code, body)
	}
	down.Store(false)
	if code, _ := get(t, s, "/readyz"); code != 200 {
		t.Errorf("readyz after it came up: %d", code)
	}
}

func TestMetricsAndProfiles(t *testing.T) {
	s := started(t)
	_, body := get(t, s, "/metrics")
	for _, want := range []string{"weft_build_info{", "go_goroutines ", "process_resident_memory_bytes "} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in /metrics", want)
		}
	}
	if code, body := get(t, s, "/debug/pprof/goroutine?debug=1"); code != 200 || !strings.Contains(body, "goroutine profile") {
		t.Errorf("pprof %d", code)
	}
	if code, _ := get(t, s, "/"); code != 404 {
		t.Errorf("/ answered %d", code)
	}
}

func TestTakenAddress(t *testing.T) {
	s := started(t)
	_, err := New(s.Addr(), zap.NewNop())
	if fault.KindOf(err) != fault.Conflict || !strings.Contains(err.Error(), s.Addr()+" is taken by another process") {
		t.Errorf("got %v", err)
	}
	if _, err := New("no port", zap.NewNop()); fault.CodeOf(err) != "bad_address" {
		t.Errorf("got %v", err)
	}
}

func TestStopReleasesTheAddress(t *testing.T) {
	for _, start := range []bool{true, false} {
		s, err := New("127.0.0.1:0", zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if start {
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		again, err := New(s.Addr(), zap.NewNop())
		if err != nil {
			t.Fatalf("started %v: %v", start, err)
		}
		if err := again.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestStopIsBounded holds a request open, as a long profile would.
func TestStopIsBounded(t *testing.T) {
	s, err := New("127.0.0.1:0", zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	s.Check("slow", func() error { close(entered); <-release; return nil })
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if res, err := http.Get("http://" + s.Addr() + "/readyz"); err == nil {
			_ = res.Body.Close()
		}
	}()
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
	close(release)
	<-ended
}

func TestServerWithoutAddress(t *testing.T) {
	s, err := New("", zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Start(), s.Stop(t.Context())); err != nil || s.Addr() != "" {
		t.Errorf("%v, addr %q", err, s.Addr())
	}
}

func TestLogger(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger("info", "auto", &out)
	if err != nil {
		t.Fatal(err)
	}
	log.Debug("hidden")
	log.Info("shown", zap.Duration("took", time.Second))
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatalf("not one JSON line: %q", out.String())
	}
	if line["msg"] != "shown" || line["level"] != "info" || line["took"] != 1.0 || line["time"] == nil {
		t.Errorf("line %v", line)
	}
	out.Reset()
	if log, err = NewLogger("warn", "console", &out); err != nil {
		t.Fatal(err)
	}
	log.Info("hidden")
	log.Warn("shown")
	if got := out.String(); !strings.Contains(got, "WARN shown") || strings.Contains(got, "hidden") || strings.Contains(got, "\x1b") {
		t.Errorf("console %q", got)
	}
	for _, bad := range [][2]string{{"loud", "json"}, {"fatal", "json"}, {"info", "xml"}} {
		if _, err := NewLogger(bad[0], bad[1], &out); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
