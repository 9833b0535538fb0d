package machine

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// ParseSysctl reads lines "name: value" as sysctl prints them, in any order and number.
func (m *Machine) ParseSysctl(text string) {
	kv := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			kv[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	number := func(k string) int64 {
		n, err := strconv.ParseInt(kv[k], 10, 64)
		if err != nil || n < 0 {
			return 0
		}
		return n
	}
	m.setString(&m.Chip, kv["machdep.cpu.brand_string"])
	m.setString(&m.Model, kv["hw.model"])
	m.setString(&m.OSVersion, kv["kern.osproductversion"])
	if n := number("hw.memsize"); n > 0 {
		m.Memory = n
	}
	if n := number("iogpu.wired_limit_mb"); n > 0 {
		m.WiredLimit = n << 20
	}
	m.Rosetta = m.Rosetta || number("sysctl.proc_translated") == 1
	if n := int(number("hw.physicalcpu")); n > 0 {
		m.Cores = n
	}
	m.levels(kv, int(number("hw.nperflevels")), number)
}

// levels reads the groups of cores. Level 0 is the fastest whatever its name.
func (m *Machine) levels(kv map[string]string, n int, number func(string) int64) {
	if n <= 0 || n > 8 {
		return
	}
	m.Levels = nil
	sum := 0
	for i := range n {
		p := "hw.perflevel" + strconv.Itoa(i) + "."
		l := Level{Name: kv[p+"name"], Cores: int(number(p + "physicalcpu"))}
		m.Levels = append(m.Levels, l)
		sum += l.Cores
	}
	if m.Cores == 0 {
		m.Cores = sum
	}
}

func (m *Machine) setString(dst *string, v string) {
	if v != "" {
		*dst = v
	}
}

var (
	ioregModel = regexp.MustCompile(`"model" = "([^"]+)"`)
	ioregCores = regexp.MustCompile(`"gpu-core-count" = (\d+)`)
)

// ParseIOReg reads `ioreg -rc AGXAccelerator -d1`: the GPU's name and core count.
func (m *Machine) ParseIOReg(text string) {
	if f := ioregModel.FindStringSubmatch(text); f != nil && m.Chip == "" {
		m.Chip = f[1]
	}
	if f := ioregCores.FindStringSubmatch(text); f != nil {
		m.GPUCores, _ = strconv.Atoi(f[1]) // digits by the pattern; too many give 0, not known
		m.Metal = true
	}
}

// ParseDisplays reads `system_profiler SPDisplaysDataType -json`.
func (m *Machine) ParseDisplays(text string) error {
	var d struct {
		SPDisplaysDataType []struct {
			Model string `json:"sppci_model"`
			Cores string `json:"sppci_cores"`
			Metal string `json:"spdisplays_mtlgpufamilysupport"`
		}
	}
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return err
	}
	for _, g := range d.SPDisplaysDataType {
		if !strings.HasPrefix(g.Model, "Apple ") {
			continue
		}
		if m.Chip == "" {
			m.Chip = g.Model
		}
		m.GPUCores, _ = strconv.Atoi(g.Cores) // not a number: not known
		m.Metal = m.Metal || g.Metal != ""
	}
	return nil
}

var (
	metalName   = regexp.MustCompile(`GPU name: +(?:MTL\d+ \()?(Apple [^)\n]+?)\)?\s*(?:\n|$)`)
	metalFamily = regexp.MustCompile(`MTLGPUFamilyApple(\d+)`)
	metalTensor = regexp.MustCompile(`has tensor\s*= true`)
	metalSet    = regexp.MustCompile(`recommendedMaxWorkingSetSize\s*= ([0-9.]+) MB`)
)

// ParseMetalLog reads what llama.cpp logs when it opens a Metal device. Its MB are 10^6 bytes.
func (m *Machine) ParseMetalLog(text string) {
	if f := metalName.FindStringSubmatch(text); f != nil && m.Chip == "" {
		m.Chip = f[1]
	}
	for _, f := range metalFamily.FindAllStringSubmatch(text, -1) {
		if n, err := strconv.Atoi(f[1]); err == nil {
			m.GPUFamily = max(m.GPUFamily, n)
		}
	}
	m.HasTensor = m.HasTensor || metalTensor.MatchString(text)
	if f := metalSet.FindStringSubmatch(text); f != nil {
		if mb, err := strconv.ParseFloat(f[1], 64); err == nil {
			m.WorkingSet = int64(mb * 1e6)
			m.Metal = true
		}
	}
}

// ParsePower reads `pmset -g batt`, `pmset -g` and `pmset -g therm`, one after the other.
func (m *Machine) ParsePower(text string) {
	m.OnBattery = m.OnBattery || strings.Contains(text, "'Battery Power'")
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) == 2 && f[0] == "lowpowermode":
			m.LowPower = f[1] == "1"
		case len(f) == 3 && f[0] == "CPU_Speed_Limit":
			m.SpeedLimit, _ = strconv.Atoi(f[2]) // not a number: not known
		}
	}
}

// ParseVMStat reads `vm_stat`: free, inactive, speculative and purgeable pages can be had without swapping.
func (m *Machine) ParseVMStat(text string) {
	page := int64(16384)
	if f := regexp.MustCompile(`page size of (\d+) bytes`).FindStringSubmatch(text); f != nil {
		page, _ = strconv.ParseInt(f[1], 10, 64)
	}
	pages := int64(0)
	for line := range strings.Lines(text) {
		k, v, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch k {
		case "Pages free", "Pages inactive", "Pages speculative", "Pages purgeable":
			n, _ := strconv.ParseInt(strings.Trim(v, " ."), 10, 64)
			pages += n
		}
	}
	m.Available = pages * page
}
