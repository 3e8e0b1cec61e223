// Package child starts processes that do not outlive the one that started them. The fault rig and the benchmarks use
// it. It has no state.
package child

import "syscall"

// Attr lets a process end with this one, however this one ends.
func Attr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
