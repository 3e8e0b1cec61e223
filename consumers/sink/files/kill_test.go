package files

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	childDir   = "WEFT_TEST_FILES_DIR"
	childFirst = "WEFT_TEST_FILES_FIRST"
	childStep  = 5
	childLast  = 249
)

// child writes events from one on, and tells after each batch that it was acknowledged. It is this test's own program,
// started again.
func child() bool {
	dir := os.Getenv(childDir)
	if dir == "" {
		return false
	}
	first, err := strconv.Atoi(os.Getenv(childFirst))
	if err != nil {
		panic(err)
	}
	s, err := Open(context.Background(), Options{Dir: dir, Linger: -1})
	if err != nil {
		panic(err)
	}
	for ; first <= childLast; first += childStep {
		if err := s.HandleBatch(context.Background(), messages(first, min(first+childStep-1, childLast))); err != nil {
			panic(err)
		}
		fmt.Println("acknowledged", min(first+childStep-1, childLast)) //nolint:forbidigo // the parent reads it
	}
	return true
}

// Processes that are killed wherever they are leave each event once, and nothing that the next one does not remove.
func TestKilled(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	first := 0
	for kill := 1; kill <= 5 && first <= childLast; kill++ {
		first = runAndKill(t, root, first, 2*kill)
	}
	s, err := Open(t.Context(), Options{Dir: root})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	s.mustWrite(t, messages(first, childLast)) // what was not acknowledged comes again
	d := s.st.(*dir)
	if err := d.tidy(time.Now().Add(2*staleAfter), logFolder, ownFolder, noticeFolder); err != nil {
		t.Fatal(err)
	}
	wantOnce(t, d, childLast)
}

// runAndKill starts a process and kills it when it has acknowledged that many batches. It returns the first event that
// was not acknowledged.
func runAndKill(t *testing.T, dir string, first, batches int) int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s=%d", childFirst, first))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for seen := 0; lines.Scan(); {
		n, ok := strings.CutPrefix(lines.Text(), "acknowledged ")
		if !ok {
			t.Fatalf("the process says %q", lines.Text())
		}
		last, err := strconv.Atoi(n)
		if err != nil {
			t.Fatal(err)
		}
		first = last + 1
		if seen++; seen == batches {
			_ = cmd.Process.Kill() // what it has said in the meantime is still read
		}
	}
	_ = cmd.Wait()
	return first
}
