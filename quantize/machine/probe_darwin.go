package machine

import (
	"context"
	"os/exec"
)

// probe runs the system's own tools; each is optional.
func (m *Machine) probe(ctx context.Context) {
	m.OS = "macos"
	ask := func(parse func(string), name string, args ...string) { ask(ctx, parse, name, args...) }
	ask(m.ParseSysctl, "sysctl", "machdep.cpu.brand_string", "hw.model", "hw.memsize", "hw.physicalcpu", "hw.nperflevels",
		"kern.osproductversion", "iogpu.wired_limit_mb", "sysctl.proc_translated",
		"hw.perflevel0.name", "hw.perflevel0.physicalcpu", "hw.perflevel1.name", "hw.perflevel1.physicalcpu",
		"hw.perflevel2.name", "hw.perflevel2.physicalcpu")
	ask(m.ParseIOReg, "ioreg", "-rc", "AGXAccelerator", "-d1")
	if m.GPUCores == 0 {
		ask(func(s string) { _ = m.ParseDisplays(s) }, "system_profiler", "SPDisplaysDataType", "-json") // not JSON: not known
	}
	ask(m.ParseVMStat, "vm_stat")
	m.NoTools = exec.CommandContext(ctx, "xcode-select", "-p").Run() != nil
	m.askPower(ctx)
}

// ask hands a tool's output to its parser, and tells whether there was any.
func ask(ctx context.Context, parse func(string), name string, args ...string) bool {
	b, err := exec.CommandContext(ctx, name, args...).Output()
	if err != nil && len(b) == 0 {
		return false
	}
	parse(string(b))
	return true
}

// askPower reads battery, power mode and throttling; it tells whether any of them was told.
func (m *Machine) askPower(ctx context.Context) bool {
	told := false
	for _, args := range [][]string{{"-g", "batt"}, {"-g"}, {"-g", "therm"}} {
		told = ask(ctx, m.ParsePower, "pmset", args...) || told
	}
	return told
}
