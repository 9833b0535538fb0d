package worker

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// peakRSS is this process's peak resident memory in bytes. VmHWM belongs to this program alone, where ru_maxrss
// remembers the parent's size from before exec.
func peakRSS() int64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if rest, ok := strings.CutPrefix(sc.Text(), "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(rest + " 0")[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}

// coresOf counts physical cores by their sets of sibling threads, as llama.cpp does (common/common.cpp).
func coresOf() int {
	files, _ := filepath.Glob("/sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings")
	sets := make(map[string]bool)
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil {
			sets[string(b)] = true
		}
	}
	return len(sets)
}
