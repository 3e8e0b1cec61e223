//go:build !linux

// Package child starts processes that do not outlive the one that started them, where the system has a way: only
// Linux ends a process with its parent.
package child

import "syscall"

// Attr is nothing here.
func Attr() *syscall.SysProcAttr { return nil }
