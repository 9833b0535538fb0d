package llamacpp

import "syscall"

// rusageUnit is the unit of ru_maxrss: Linux counts KiB.
const rusageUnit = 1024

// childAttributes put the child in its own group, so that Ctrl-C reaches the parent alone and the parent decides, and
// have the kernel kill it when the parent dies.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
