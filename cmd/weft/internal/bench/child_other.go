//go:build !linux

package bench

import "syscall"

// child: only Linux ends a process with its parent.
func child() *syscall.SysProcAttr { return nil }
