package load

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
)

// Ledger is a file of effects, one event id on each line: the effect and the mark that it was done are one write, so
// that a process that is killed has done both or neither. It is safe for concurrent use.
type Ledger struct {
	mu   sync.Mutex
	file *os.File
	done map[string]bool
}

// OpenLedger reads what was done before. A line that a crash cut short is taken back.
func OpenLedger(path string) (*Ledger, error) {
	effects, whole, err := readLedger(path)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(whole), seekEnd(f)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	l := &Ledger{file: f, done: make(map[string]bool, len(effects))}
	for _, id := range effects {
		l.done[id] = true
	}
	return l, nil
}

func seekEnd(f *os.File) error {
	_, err := f.Seek(0, 2)
	return err
}

// Do commits the effect of an event unless it was committed before.
func (l *Ledger) Do(id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done[id] {
		return nil
	}
	if _, err := l.file.WriteString(id + "\n"); err != nil {
		return err
	}
	l.done[id] = true
	return nil
}

// Close closes the file.
func (l *Ledger) Close() error { return l.file.Close() }

// Effects lists what a ledger's file says was done, in order.
func Effects(path string) ([]string, error) {
	effects, _, err := readLedger(path)
	return effects, err
}

// readLedger also returns how many bytes make whole lines.
func readLedger(path string) (effects []string, whole int64, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	raw = raw[:bytes.LastIndexByte(raw, '\n')+1]
	s := bufio.NewScanner(bytes.NewReader(raw))
	for s.Scan() {
		effects = append(effects, s.Text())
	}
	return slices.Clip(effects), int64(len(raw)), s.Err()
}
