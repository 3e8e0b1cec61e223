// Package lazyfs is a file system that loses what was not synced: the rig puts a server's data directory on it and
// cuts the "power" of that directory alone. It is a FUSE passthrough of a backing directory in the process that
// called Mount; the servers on it are ordinary processes that know nothing of it. The idea is that of dsrhaslab's
// LazyFS; this one needs neither libfuse nor fusermount, only root and /dev/fuse. Only the rig and its tests use it.
//
// # What is modelled
//
//   - File data (write, truncate, O_TRUNC, O_APPEND, fallocate) stays in pages of 4 KiB until fsync or fdatasync of
//     that file through any descriptor; a file that was opened with O_SYNC or O_DSYNC is synced by every write.
//     Closing and renaming sync nothing. Reads and stat see what is pending.
//   - PowerOff is the worst case that POSIX allows: nothing pending survives, not even the new length.
//     Descriptors that were open then stay dead after PowerOn, as those of the machine that lost its power are.
//   - Names (create, rename, unlink, mkdir) are durable at once, which is harsher for a rename over an old file
//     (ext4 would sync the new content first) and kinder to everything else. With Options.LoseMetadata they are
//     durable once a directory that holds them was synced, and rolled back by PowerOff before.
//   - Write errors and a full disk: Fail and Options.Capacity.
//   - A clean Close writes pending data, as umount does. A killed process is a power-off of its mounts, without the
//     roll-back of names.
//
// # What is not modelled
//
// Nothing is written back on its own, so no write survives half or out of order, and a power-off never falls into
// an fsync: it comes before or after. After a failed fsync the pages stay pending, where Linux may mark them clean.
// Mode, owner and times are durable at once. RWF_DSYNC, O_SYNC set by fcntl, sync(2) and syncfs(2) sync nothing.
// Shared mappings and extended attributes are refused. Fsync does not reach the disk below: what is measured on
// a mount is not the cost of a real one.
//
// # Concurrency
//
// All methods of FS may be called from any goroutine. The process that mounts must not start programs whose
// executable or working directory lies on the mount: the Go runtime may then wait for itself. Better it does not use
// the mount at all: a process that is killed while it waits for its own mount ends only after Unmount by another.
package lazyfs

import (
	"errors"
	"fmt"
)

// ErrUnsupported is what Mount returns on systems other than Linux.
var ErrUnsupported = errors.New("lazyfs: needs FUSE on Linux")

// Options chooses what a file system loses and how much it holds. The zero value keeps names and has no limit.
type Options struct {
	// LoseMetadata rolls names back, too, that were made, renamed or removed since their directory was synced. Removed files
	// wait in a directory next to the backing one, called as it with ".removed" appended.
	LoseMetadata bool
	// SyncNames makes fsync of a file sync its own name and those of the directories above it, as ext4, XFS and
	// btrfs do beyond what POSIX asks. Without it even a JetStream server with SyncAlways loses its streams, because it
	// does not sync the directories above them. It says something only with LoseMetadata.
	SyncNames bool
	// Capacity is how many bytes the lengths of all files may add up to, 0 for no limit. A write that does not fit
	// fails whole with ENOSPC.
	Capacity int64
}

func (o Options) validate() error {
	if o.Capacity < 0 {
		return fmt.Errorf("lazyfs: a capacity of %d bytes is impossible", o.Capacity)
	}
	if o.SyncNames && !o.LoseMetadata {
		return errors.New("lazyfs: SyncNames needs LoseMetadata")
	}
	return nil
}

// Loss is what a power-off took.
type Loss struct {
	Bytes int64 // written but not synced; a page counts from its first to its last unsynced byte
	Files int   // with unsynced bytes or an unsynced length
	Names int   // changes of names that were rolled back
}
