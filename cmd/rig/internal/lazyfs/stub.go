//go:build !linux

package lazyfs

import "syscall"

// FS cannot be had on this system.
type FS struct{}

// Mount returns ErrUnsupported.
func Mount(_, _ string, _ Options) (*FS, error) { return nil, ErrUnsupported }

// Unmount returns ErrUnsupported.
func Unmount(string) error { return ErrUnsupported }

// PowerOff does nothing.
func (*FS) PowerOff() Loss { return Loss{} }

// PowerOn does nothing.
func (*FS) PowerOn() {}

// Fail does nothing.
func (*FS) Fail(syscall.Errno) {}

// Heal does nothing.
func (*FS) Heal() {}

// Close does nothing.
func (*FS) Close() error { return nil }
