package machine

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"
)

// Detect asks the operating system. It never fails: what cannot be found out stays unknown.
// dir is where outputs will go, even if it is not there yet; its file system's free space is reported.
func Detect(ctx context.Context, dir string) *Machine {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // a probe that hangs must not hold up the user
	defer cancel()
	m := &Machine{OS: runtime.GOOS, Arch: runtime.GOARCH}
	if v, err := mem.VirtualMemoryWithContext(ctx); err == nil {
		m.Memory, m.Available = int64(v.Total), int64(v.Available)
	}
	if d, err := disk.UsageWithContext(ctx, existing(dir)); err == nil {
		m.DiskFree = int64(d.Free)
	}
	m.probe(ctx)
	if m.Cores == 0 {
		m.Cores = runtime.NumCPU()
	}
	m.Complete()
	return m
}

// existing is dir or the nearest folder above it that is there.
func existing(dir string) string {
	for {
		if _, err := os.Stat(dir); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "."
		}
		dir = up
	}
}
