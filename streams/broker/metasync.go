package broker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/zap"
)

// metaSync puts on disk what the server leaves in the page cache: it syncs messages, but rewrites the description of
// a stream or consumer by a rename without a sync, and never syncs the directories above. A power cut after a change of
// a stream could so leave an empty description, and with it the whole stream would be gone. It belongs to one
// goroutine.
type metaSync struct {
	root string
	sync func(path string) error
	seen map[string]time.Time // path -> the modification time that is on disk
}

// description is the file that a stream or consumer cannot do without.
const description = "meta.inf"

// described are the files of a description.
var described = map[string]bool{description: true, "meta.sum": true}

// contents is the directory of a stream's messages. The server syncs what is in it.
const contents = "msgs"

func newMetaSync(root string, sync func(path string) error) *metaSync {
	return &metaSync{root: root, sync: sync, seen: map[string]time.Time{}}
}

// round syncs every directory and description that changed since the last one. What goes away meanwhile is no
// error: streams are removed while it looks.
func (m *metaSync) round() error {
	var errs []error
	last := m.seen
	m.seen = make(map[string]time.Time, len(last))
	err := filepath.WalkDir(m.root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return unlessGone(err)
		}
		if e.IsDir() || described[e.Name()] {
			errs = append(errs, m.settle(path, e, last[path]))
		}
		if e.IsDir() && e.Name() == contents {
			return fs.SkipDir
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}

func (m *metaSync) settle(path string, e fs.DirEntry, last time.Time) error {
	info, err := e.Info()
	if err != nil {
		return unlessGone(err)
	}
	if !last.Equal(info.ModTime()) {
		if err := m.sync(path); err != nil {
			return unlessGone(err)
		}
	}
	m.seen[path] = info.ModTime()
	return nil
}

func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// start runs until the function that it returns is called, which waits for a last round.
func (m *metaSync) start(interval time.Duration, log *zap.Logger) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.run(ctx, interval, log)
	}()
	return func() {
		cancel()
		<-done
	}
}

// syncFiles puts every file below root on disk. The server syncs what it wrote itself, not what an earlier process
// left in the page cache, and ends without a last sync: what was acknowledged before a restart would stay a victim of
// a power cut for as long as the operating system likes, instead of SyncInterval.
func syncFiles(root string, sync func(path string) error) error {
	var errs []error
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return unlessGone(err)
		case e.Type().IsRegular():
			errs = append(errs, unlessGone(sync(path)))
		}
		return nil
	})
	return errors.Join(append(errs, err)...)
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// run looks every interval until ctx ends, and once more then.
func (m *metaSync) run(ctx context.Context, interval time.Duration, log *zap.Logger) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	failed := false
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-tick.C:
		}
		err := m.round()
		if err != nil && !failed { // once, not each second of a broken disk
			log.Error("descriptions of streams are not synced", zap.Error(err))
		}
		failed = err != nil
	}
}
