package machine

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func recorded(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRecordedMacs(t *testing.T) {
	var m1 Machine
	m1.ParseSysctl(recorded(t, "m1-pro.sysctl.txt"))
	if want := []Level{{"Performance", 8}, {"Efficiency", 2}}; !slices.Equal(m1.Levels, want) || m1.Cores != 10 || m1.FastCores() != 8 {
		t.Errorf("M1 Pro: levels %v, cores %d, fast %d", m1.Levels, m1.Cores, m1.FastCores())
	}

	var mini Machine
	mini.ParseSysctl(recorded(t, "m2-pro-mini.sysctl.txt"))
	if mini.Memory != 32<<30 || mini.Model != "Mac14,12" || mini.WiredLimit != 0 {
		t.Errorf("mini: %+v", mini)
	}

	var m3 Machine
	m3.ParseSysctl(recorded(t, "m3-max.sysctl.txt"))
	if m3.Memory != 128<<30 || m3.FastCores() != 12 || m3.Cores != 16 {
		t.Errorf("M3 Max: %+v", m3)
	}

	var m2 Machine
	if err := m2.ParseDisplays(recorded(t, "m2-max.displays.json")); err != nil {
		t.Fatal(err)
	}
	m2.Complete()
	if m2.Chip != "Apple M2 Max" || m2.GPUCores != 30 || !m2.Metal || m2.Bandwidth != 400 || m2.GPUFamily != 8 {
		t.Errorf("M2 Max: %+v", m2)
	}

	var m4 Machine
	m4.ParseIOReg(recorded(t, "m4.ioreg.txt"))
	m4.Complete()
	if m4.Chip != "Apple M4" || m4.GPUCores != 10 || m4.Bandwidth != 120 || m4.FastCores() != 4 {
		t.Errorf("M4: %+v", m4)
	}

	var m5 Machine
	m5.ParseMetalLog(recorded(t, "m5-max.metal-log.txt"))
	if m5.Chip != "Apple M5 Max" || m5.GPUFamily != 10 || !m5.HasTensor || m5.WorkingSet != 40200900000 {
		t.Errorf("M5 Max: %+v", m5)
	}

	var m6 Machine
	m6.ParseSysctl(recorded(t, "m6.sysctl.txt"))
	if want := []Level{{"Super", 2}, {"Performance", 4}, {"Efficiency", 6}}; !slices.Equal(m6.Levels, want) || m6.FastCores() != 6 {
		t.Errorf("M6: %+v", m6)
	}
}

func TestFor(t *testing.T) {
	for _, c := range []struct {
		text string
		chip string
		gb   int64
		gpu  int
		set  int64
	}{
		{"M3 Pro 18GB", "Apple M3 Pro", 18, 14, 12884901888},
		{"apple m4 max 40-core 64 GB", "Apple M4 Max", 64, 40, 51539610000},
		{"M1", "Apple M1", 8, 7, 5726600000},
		{"M3 Ultra 512GB", "Apple M3 Ultra", 512, 60, 498216210000},
	} {
		m, err := For(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if m.Chip != c.chip || m.Memory != c.gb<<30 || m.GPUCores != c.gpu || m.WorkingSet != c.set {
			t.Errorf("%s: %s %d GiB %d GPU cores, working set %d", c.text, m.Chip, m.Memory>>30, m.GPUCores, m.WorkingSet)
		}
	}
	for _, bad := range []string{"", "M99 8GB", "Pentium", "M4 Max 7-core 64GB"} {
		if m, err := For(bad); err == nil {
			t.Errorf("%q was understood as %+v", bad, m)
		}
	}
}

// A wired limit that the user has set is the working set.
func TestWiredLimit(t *testing.T) {
	m := Machine{Chip: "Apple M2 Max"}
	m.ParseSysctl("hw.memsize: 68719476736\niogpu.wired_limit_mb: 57344\n")
	m.Complete()
	if m.WorkingSet != 57344<<20 {
		t.Errorf("working set %d", m.WorkingSet)
	}
}

func TestPowerAndMemoryText(t *testing.T) {
	var m Machine
	m.ParsePower("Now drawing from 'Battery Power'\n -InternalBattery-0 80%\n")
	m.ParsePower(" lowpowermode         1\n")
	m.ParsePower("CPU_Speed_Limit \t= 72\n")
	if !m.OnBattery || !m.LowPower || m.SpeedLimit != 72 {
		t.Errorf("power: %+v", m)
	}
	m.ParseVMStat("Mach Virtual Memory Statistics: (page size of 16384 bytes)\nPages free: 100.\nPages inactive: 50.\nPages active: 9000.\n")
	if m.Available != 150*16384 {
		t.Errorf("available %d", m.Available)
	}
}

func TestTables(t *testing.T) {
	if len(Chips) < 35 {
		t.Fatalf("%d chips", len(Chips))
	}
	for _, c := range Chips {
		if c.Bandwidth == 0 || c.GPUCores == 0 || len(c.RAM) == 0 || c.cores() == 0 {
			t.Errorf("incomplete row: %+v", c)
		}
	}
	if workingSet(40<<30, "15.1") != 40<<30/4*3 {
		t.Error("rule for an unknown size")
	}
	if workingSet(16<<30, "26.1") != 12713120000 {
		t.Error("macOS 26")
	}
}

func TestDetectHere(t *testing.T) {
	m := Detect(t.Context(), t.TempDir())
	if m.Memory <= 0 || m.Cores <= 0 || m.DiskFree <= 0 {
		t.Errorf("%+v", m)
	}
}

// What the runtime's Metal device says replaces the table's value, and is no assumption any more; so do missing things name their cure.
func TestLiveWorkingSet(t *testing.T) {
	m, err := For("M3 Pro 18GB")
	if err != nil {
		t.Fatal(err)
	}
	assumed := len(m.Assumed)
	m.LiveWorkingSet(0)
	if len(m.Assumed) != assumed {
		t.Error("nothing was said, and the table's value is no assumption any more")
	}
	m.LiveWorkingSet(14 << 30)
	if m.WorkingSet != 14<<30 || len(m.Assumed) != assumed-1 {
		t.Errorf("%d bytes, assumed %v", m.WorkingSet, m.Assumed)
	}
	m.NoTools, m.Rosetta, m.SpeedLimit, m.LowPower = true, true, 70, true
	if got := strings.Join(m.Missing(), "\n"); strings.Count(got, "\n") != 3 || !strings.Contains(got, "xcode-select --install") || !strings.Contains(got, "Rosetta") {
		t.Error(got)
	}
}
