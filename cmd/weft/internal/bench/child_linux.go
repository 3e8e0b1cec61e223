package bench

import "syscall"

// child lets a process end with the benchmark, however that ends.
func child() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
