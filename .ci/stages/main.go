// Command stages measures the stages of the hot path: every benchmark of the repository whose name begins with
// BenchmarkStage. Without -check it writes their table into ARCHITECTURE.md; with it, it holds their allocations to
// the limits in .ci/allocs.txt. It never judges a time: times are the machine's, allocations are the program's.
//
//	go run ./.ci/stages            measure and write the table
//	go run ./.ci/stages -check     measure briefly and compare
//
// It runs in the repository's root. Exit 0: done, 1: a limit does not hold or something went wrong, 2: usage.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// command is what the flags say.
type command struct {
	root, limits, document string
	check                  bool
	benchtime, count       string
	stdout, stderr         io.Writer
}

func run(args []string, stdout, stderr io.Writer) int {
	c := command{stdout: stdout, stderr: stderr}
	f := flag.NewFlagSet("stages", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&c.root, "C", ".", "the module's root `folder`")
	f.StringVar(&c.limits, "limits", ".ci/allocs.txt", "`file` of the limits")
	f.StringVar(&c.document, "document", "ARCHITECTURE.md", "`file` that holds the table")
	f.BoolVar(&c.check, "check", false, "compare allocations with the limits, write nothing")
	f.StringVar(&c.benchtime, "benchtime", "", "go test's -benchtime (default 1s, with -check 200x)")
	f.StringVar(&c.count, "count", "3", "go test's -count; of each benchmark the best run counts")
	if err := f.Parse(args); err != nil || f.NArg() > 0 {
		return 2
	}
	if c.benchtime == "" {
		c.benchtime = map[bool]string{false: "1s", true: "200x"}[c.check]
	}
	if err := c.run(); err != nil {
		fmt.Fprintf(stderr, "stages: %v\n", err)
		return 1
	}
	return 0
}

func (c *command) run() error {
	text, err := os.ReadFile(filepath.Join(c.root, c.limits))
	if err != nil {
		return err
	}
	limits, err := parseLimits(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", c.limits, err)
	}
	results, err := c.measure()
	if err != nil {
		return err
	}
	bad, low := compare(limits, results)
	if c.check {
		for _, line := range low {
			fmt.Fprintln(c.stdout, line)
		}
		for _, line := range bad {
			fmt.Fprintln(c.stderr, line)
		}
		if len(bad) > 0 {
			return fmt.Errorf("%d of %d stages do not hold their limit in %s", len(bad), len(results), c.limits)
		}
		fmt.Fprintf(c.stdout, "%d stages hold their limits of allocations\n", len(results))
		return nil
	}
	return c.write(order(limits, results))
}

// measure runs the benchmarks, one package after the other.
func (c *command) measure() ([]result, error) {
	packages, err := c.packages()
	if err != nil {
		return nil, err
	}
	args := append([]string{"test", "-run", "^$", "-bench", "^" + stagePrefix, "-benchmem", "-benchtime", c.benchtime, "-count", c.count, "-p", "1"}, packages...)
	cmd := exec.Command("go", args...)
	cmd.Dir = c.root
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, c.stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, &out)
	}
	return parse(out.String(), runtime.GOMAXPROCS(0))
}

var declares = regexp.MustCompile(`(?m)^func ` + stagePrefix)

// packages are those whose tests declare a stage's benchmark, as go test takes them. Only these are built.
func (c *command) packages() ([]string, error) {
	var found []string
	err := filepath.WalkDir(c.root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != c.root && (strings.HasPrefix(d.Name(), ".") || strings.HasPrefix(d.Name(), "_") || d.Name() == "testdata"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		folder, err := filepath.Rel(c.root, filepath.Dir(path))
		if p := "./" + filepath.ToSlash(folder); declares.Match(text) && !slices.Contains(found, p) {
			found = append(found, p)
		}
		return err
	})
	if err == nil && len(found) == 0 {
		err = errors.New("no test declares a benchmark " + stagePrefix + "…")
	}
	return found, err
}

// write puts the table into the document.
func (c *command) write(results []result) error {
	path := filepath.Join(c.root, c.document)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	next, err := replace(string(text), table(results))
	if err != nil {
		return fmt.Errorf("%s: %w", c.document, err)
	}
	return os.WriteFile(path, []byte(next), 0o644)
}
