package main

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/weft-mesh/weft/accounts/token/issuertest"
)

func TestMain(m *testing.M) {
	issuertest.Serve()
	testscript.Main(m, map[string]func(){"weft": main})
}

// TestScript runs the command as its user meets it; the scripts are in testdata/script. One of them starts a mesh, at
// the port base $PORT_BASE.
func TestScript(t *testing.T) {
	base := upPortBase(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PORT_BASE", base)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": cmdExits, "eventually": cmdEventually, "capture": cmdCapture, "stamp": cmdStamp},
	})
}

// cmdExits is "exits CODE program args…": like exec, and the exit code must be CODE.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE program args…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// cmdEventually is "eventually program args…": the program is run again until it succeeds (after "!": until it fails), for
// half a minute.
func cmdEventually(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 {
		ts.Fatalf("usage: [!] eventually program args…")
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(30 * time.Second); ; <-tick.C {
		err := ts.Exec(args[0], args[1:]...)
		if (err == nil) != neg {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("the end is still %v: %s", err, ts.ReadFile("stderr"))
		}
	}
}

// cmdCapture is "capture NAME REGEXP": the environment variable becomes what the first group matches in standard output.
func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: capture NAME REGEXP")
	}
	re, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	m := re.FindStringSubmatch(ts.ReadFile("stdout"))
	if len(m) < 2 {
		ts.Fatalf("standard output does not match %s", args[1])
	}
	ts.Setenv(args[0], m[1])
}

// cmdStamp is "stamp FILE": NOW in the file becomes the present time.
func cmdStamp(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: stamp FILE")
	}
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "NOW", time.Now().UTC().Format(time.RFC3339))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}
