//go:build !darwin

package machine

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/host"
)

// probe reads the processor's name, its physical cores and instruction sets, and the limits of the control group.
func (m *Machine) probe(ctx context.Context) {
	if info, err := cpu.InfoWithContext(ctx); err == nil && len(info) > 0 {
		m.Chip = strings.TrimSpace(info[0].ModelName)
		m.Features = kernelFeatures(info[0].Flags)
	}
	if n, err := cpu.CountsWithContext(ctx, false); err == nil {
		m.Cores = n
	}
	if v, err := host.InfoWithContext(ctx); err == nil {
		m.OSVersion = strings.TrimSpace(v.Platform + " " + v.PlatformVersion)
	}
	m.limit("/sys/fs/cgroup")
	if n := runtime.NumCPU(); m.Cores == 0 || n < m.Cores { // the process may be bound to fewer
		m.Cores = n
	}
}

// limit applies the memory and processor limits of the process's control group (version 2, or 1 at its usual places).
func (m *Machine) limit(root string) {
	read := func(names ...string) string {
		for _, n := range names {
			if b, err := os.ReadFile(filepath.Join(root, n)); err == nil {
				return strings.TrimSpace(string(b))
			}
		}
		return ""
	}
	max := ParseCgroupMemory(read("memory.max", "memory/memory.limit_in_bytes"))
	used := ParseCgroupMemory(read("memory.current", "memory/memory.usage_in_bytes"))
	if max > 0 && max < m.Memory {
		m.Memory = max
		m.Available = min(m.Available, max-min(used, max))
	}
	if n := ParseCgroupCPU(read("cpu.max")); n > 0 && (m.Cores == 0 || n < m.Cores) {
		m.Cores = n
	}
}

// ParseCgroupMemory reads memory.max or memory.current; "max" and unset limits (near 2^63) are 0.
func ParseCgroupMemory(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/2 {
		return 0
	}
	return n
}

// ParseCgroupCPU reads cpu.max ("quota period") as whole cores, rounded up; 0 means no limit.
func ParseCgroupCPU(text string) int {
	f := strings.Fields(text)
	if len(f) != 2 {
		return 0
	}
	quota, err1 := strconv.ParseFloat(f[0], 64)
	period, err2 := strconv.ParseFloat(f[1], 64)
	if err1 != nil || err2 != nil || period <= 0 || quota <= 0 {
		return 0
	}
	return int(math.Ceil(quota / period))
}

// kernelFeatures keeps the instruction sets by which ggml chooses its CPU kernels.
func kernelFeatures(flags []string) []string {
	want := map[string]bool{"avx": true, "avx2": true, "fma": true, "f16c": true, "avx512f": true, "avx512bw": true, "avx512vl": true,
		"avx512_vnni": true, "avx_vnni": true, "avx512_bf16": true, "amx_tile": true, "amx_int8": true,
		"asimd": true, "asimddp": true, "i8mm": true, "sve": true, "sve2": true, "sme": true, "bf16": true}
	var got []string
	for _, f := range flags {
		if want[f] {
			got = append(got, f)
		}
	}
	return got
}
