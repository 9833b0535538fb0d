package llamacpp

import "syscall"

// rusageUnit is the unit of ru_maxrss: macOS counts bytes.
const rusageUnit = 1

// childAttributes put the child in its own group, so that Ctrl-C reaches the parent alone and the parent decides. The
// child ends when its request pipe closes.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
