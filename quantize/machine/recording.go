package machine

import (
	"errors"
	"strings"
)

// ParseAny reads a recorded output of any of the tools that the probes run, told apart by what it holds.
func (m *Machine) ParseAny(text string) error {
	switch {
	case strings.HasPrefix(strings.TrimSpace(text), "{"):
		return m.ParseDisplays(text)
	case strings.Contains(text, "ggml_metal_device_init"):
		m.ParseMetalLog(text)
	case strings.Contains(text, "AGXAccelerator"):
		m.ParseIOReg(text)
	case strings.Contains(text, "Mach Virtual Memory"):
		m.ParseVMStat(text)
	case strings.Contains(text, "hw."), strings.Contains(text, "machdep."), strings.Contains(text, "iogpu."):
		m.ParseSysctl(text)
	default:
		return errors.New("not the output of a tool that is known")
	}
	return nil
}

// Missing lists what would make the machine better at its work and how to get it.
func (m *Machine) Missing() []string {
	var list []string
	add := func(cond bool, text string) {
		if cond {
			list = append(list, text)
		}
	}
	add(m.Rosetta, "a native build: this is an x86-64 program under Rosetta, several times slower; take the darwin-arm64 archive")
	add(m.Apple() && m.GPUCores == 0, "Metal: no GPU was found; a virtual machine without a GPU shows the same")
	add(m.NoTools, "Apple's command line tools: needed only to build llama.cpp yourself; `xcode-select --install`")
	add(m.LowPower, "full speed: low power mode is on (System Settings, Battery)")
	add(m.SpeedLimit > 0 && m.SpeedLimit < 100, "cooling: the system limits the processor for heat; measure again when it is cool")
	return list
}
