//go:build !darwin

package machine

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCgroupLimits(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"memory.max": "2147483648\n", "memory.current": "1073741824\n", "cpu.max": "150000 100000\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := Machine{Memory: 64 << 30, Available: 60 << 30, Cores: 16}
	m.limit(dir)
	if m.Memory != 2<<30 || m.Available != 1<<30 || m.Cores != 2 {
		t.Errorf("%+v", m)
	}
	for text, want := range map[string]int64{"max": 0, "": 0, "9223372036854771712": 0, "-3": 0, "512": 512} {
		if got := ParseCgroupMemory(text); got != want {
			t.Errorf("memory %q: %d", text, got)
		}
	}
	for text, want := range map[string]int{"max 100000": 0, "": 0, "100 0": 0, "50000 100000": 1} {
		if got := ParseCgroupCPU(text); got != want {
			t.Errorf("cpu %q: %d", text, got)
		}
	}
}
