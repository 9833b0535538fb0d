package machine

import (
	"context"
	"os/exec"
)

// probe runs the system's own tools; each is optional.
func (m *Machine) probe(ctx context.Context) {
	m.OS = "macos"
	ask := func(parse func(string), name string, args ...string) {
		if b, err := exec.CommandContext(ctx, name, args...).Output(); err == nil || len(b) > 0 {
			parse(string(b))
		}
	}
	ask(m.ParseSysctl, "sysctl", "machdep.cpu.brand_string", "hw.model", "hw.memsize", "hw.physicalcpu", "hw.nperflevels",
		"kern.osproductversion", "iogpu.wired_limit_mb", "sysctl.proc_translated",
		"hw.perflevel0.name", "hw.perflevel0.physicalcpu", "hw.perflevel1.name", "hw.perflevel1.physicalcpu",
		"hw.perflevel2.name", "hw.perflevel2.physicalcpu")
	ask(m.ParseIOReg, "ioreg", "-rc", "AGXAccelerator", "-d1")
	if m.GPUCores == 0 {
		ask(func(s string) { _ = m.ParseDisplays(s) }, "system_profiler", "SPDisplaysDataType", "-json") // not JSON: not known
	}
	ask(m.ParseVMStat, "vm_stat")
	ask(m.ParsePower, "pmset", "-g", "batt")
	ask(m.ParsePower, "pmset", "-g")
	ask(m.ParsePower, "pmset", "-g", "therm")
}
