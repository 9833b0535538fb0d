package worker

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// peakRSS is this process's peak resident memory in bytes.
func peakRSS() int64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return u.Maxrss
}

// coresOf counts performance cores, which are the ones that llama.cpp uses (common/common.cpp).
func coresOf() int {
	for _, name := range []string{"hw.perflevel0.physicalcpu", "hw.physicalcpu"} {
		if n, err := unix.SysctlUint32(name); err == nil && n > 0 {
			return int(n)
		}
	}
	return 0
}
