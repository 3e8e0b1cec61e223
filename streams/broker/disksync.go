package broker

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/weft-mesh/weft/streams/fault"
)

// tellAgain is how often a slow disk is logged.
const tellAgain = time.Minute

// diskSync puts on disk what the server leaves in the page cache. That are the descriptions of streams and consumers,
// which the server rewrites by a rename without a sync, and the directories above: a power cut after a change of a
// stream could leave an empty description, and with it the whole stream would be gone. And, unless the server syncs
// before each acknowledgement, that are the messages, of streams and of Raft logs alike: the server syncs a block while
// it holds the block's lock, and all that is stored or read in the stream waits meanwhile. A sync by another descriptor
// covers the same pages and holds no lock of the server.
//
// A round belongs to one goroutine; its syncs run beside each other.
type diskSync struct {
	root     *syncDir
	messages bool // else descriptions and directories only
	sync     func(path string) error

	every atomic.Int64 // nanoseconds between rounds while they run and succeed
}

// atOnce is how many files are synced at the same time: a disk takes many, and one commit of the file system's journal
// serves them all.
const atOnce = 16

func newDiskSync(root string, messages bool, sync func(path string) error) *diskSync {
	return &diskSync{messages: messages, sync: sync, root: &syncDir{path: root}}
}

// round syncs everything that changed since the last one. What goes away meanwhile is no error: streams are removed
// while it looks. After an error everything that is not synced for certain is due again.
func (d *diskSync) round() error {
	jobs, err := d.root.look(nil, d.messages)
	errs := make([]error, len(jobs))
	var wg sync.WaitGroup
	free := make(chan struct{}, atOnce)
	for i, paths := range jobs {
		free <- struct{}{}
		wg.Go(func() {
			for _, path := range paths {
				errs[i] = errors.Join(errs[i], unlessGone(d.sync(path)))
			}
			<-free
		})
	}
	wg.Wait()
	if err = errors.Join(append(errs, err)...); err != nil {
		d.root = &syncDir{path: d.root.path}
	}
	return err
}

func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// all puts every file below the root on disk, while nobody writes there. The server syncs what it wrote itself, not what
// an earlier process left in the page cache, and ends without a last sync: what was acknowledged before a restart would
// stay a victim of a power cut for as long as the operating system likes, instead of SyncInterval.
func (d *diskSync) all() error {
	var errs []error
	err := filepath.WalkDir(d.root.path, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return unlessGone(err)
		case e.Type().IsRegular():
			errs = append(errs, unlessGone(d.sync(path)))
		}
		return nil
	})
	if err := errors.Join(append(errs, err)...); err != nil {
		return err
	}
	// Else the first rounds would take as long as this did.
	_, err = d.root.look(nil, d.messages)
	d.root.settle()
	return err
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// start runs until the function that it returns is called, which waits for a last round.
func (d *diskSync) start(interval time.Duration, log *zap.Logger, broken func(error)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	d.every.Store(int64(interval))
	go func() {
		defer close(done)
		d.run(ctx, interval, log, broken)
	}()
	return func() {
		cancel()
		<-done
	}
}

// run looks every interval until ctx ends, and once more then. After a failure nothing that is acknowledged gets to the
// disk for certain, now or later: the kernel tells of a failed write once, and drops what it could not write.
func (d *diskSync) run(ctx context.Context, interval time.Duration, log *zap.Logger, broken func(error)) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	told := time.Time{}
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true
		case <-tick.C:
		}
		began := time.Now()
		if err := d.round(); err != nil {
			d.every.Store(0)
			broken(fault.New("broker.sync", fault.Unavailable, "disk_failed", "what was stored is not synced: %v", err))
		}
		if took := time.Since(began); took > interval && began.Sub(told) > tellAgain {
			log.Warn("the disk is slow: what is stored gets there later than sync_interval says", zap.Duration("round", took))
			told = began
		}
	}
}
