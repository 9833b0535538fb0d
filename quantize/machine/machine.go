// Package machine tells what the computer in front of us is: chip, cores by level, memory, bandwidth, Metal working set.
//
// Probes ask the operating system; parsers turn what it printed into facts. Parsers are pure, so that a Mac's answers are
// tested on any machine.
package machine

import "strings"

// Machine is what planning needs to know of a computer. A zero field is not known; Sources says where each known one comes from.
type Machine struct {
	OS        string `json:"os"` // "macos", "linux", ...
	OSVersion string `json:"os_version,omitempty"`
	Model     string `json:"model,omitempty"` // "Mac14,12"
	Chip      string `json:"chip"`            // "Apple M3 Pro", "AMD EPYC 9B45"
	Arch      string `json:"arch"`            // "arm64", "amd64"

	Levels []Level `json:"core_levels,omitempty"` // fastest first
	Cores  int     `json:"cores"`                 // physical cores that this process may use

	Memory     int64 `json:"memory_bytes"`                // what is installed, or the control group's limit if that is less
	Available  int64 `json:"available_bytes,omitempty"`   // what can be had now without swapping
	WorkingSet int64 `json:"working_set_bytes,omitempty"` // what Metal recommends as the most a GPU should use
	WiredLimit int64 `json:"wired_limit_bytes,omitempty"` // iogpu.wired_limit_mb where the user has set it
	DiskFree   int64 `json:"disk_free_bytes,omitempty"`   // where outputs go
	Bandwidth  int64 `json:"bandwidth_gb_s,omitempty"`    // memory bandwidth, 10^9 bytes a second
	GPUCores   int   `json:"gpu_cores,omitempty"`
	GPUFamily  int   `json:"gpu_family,omitempty"` // MTLGPUFamilyApple number
	Metal      bool  `json:"metal"`
	HasTensor  bool  `json:"metal_tensor,omitempty"` // matrix units in the GPU, M5 and later

	Features   []string `json:"cpu_features,omitempty"`          // instruction sets that matter for kernels
	Rosetta    bool     `json:"rosetta,omitempty"`               // an x86 process on Apple Silicon
	NoTools    bool     `json:"no_command_line_tools,omitempty"` // macOS without Apple's compilers
	OnBattery  bool     `json:"on_battery,omitempty"`
	LowPower   bool     `json:"low_power_mode,omitempty"`
	SpeedLimit int      `json:"cpu_speed_limit_percent,omitempty"` // below 100 when the machine is throttled for heat
	Assumed    []string `json:"assumed,omitempty"`                 // fields that come from a table or a rule, not from the machine
}

// Level is a group of equal cores.
type Level struct {
	Name  string `json:"name"` // "Super", "Performance", "Efficiency"
	Cores int    `json:"cores"`
}

// Apple tells whether the machine has Apple Silicon.
func (m *Machine) Apple() bool { return strings.HasPrefix(m.Chip, "Apple ") }

// Generation is the chip's family, such as "M3"; empty for other chips.
func (m *Machine) Generation() string {
	f := strings.Fields(m.Chip)
	if len(f) < 2 || f[0] != "Apple" {
		return ""
	}
	return f[1]
}

// FastCores is the number of cores that inference should use: all that are not efficiency cores, since one slow core
// makes every step wait.
func (m *Machine) FastCores() int {
	n := 0
	for _, l := range m.Levels {
		if l.Name != "Efficiency" {
			n += l.Cores
		}
	}
	if n == 0 {
		n = m.Cores
	}
	return max(n, 1)
}

func (m *Machine) assume(field string) {
	for _, a := range m.Assumed {
		if a == field {
			return
		}
	}
	m.Assumed = append(m.Assumed, field)
}
