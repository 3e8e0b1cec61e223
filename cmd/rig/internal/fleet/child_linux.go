package fleet

import "syscall"

// child lets a process end with the rig, however the rig ends.
func child() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
