package machine

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Power is what decides whether a speed that was measured now will be reached again: where the power comes from, and heat.
// Zero fields were not told by the system.
type Power struct {
	OnBattery  bool    `json:"on_battery,omitempty"`
	LowPower   bool    `json:"low_power_mode,omitempty"`
	SpeedLimit int     `json:"speed_limit,omitempty"` // per cent of the full clock that heat leaves
	Celsius    float64 `json:"celsius,omitempty"`     // of the hottest sensor
	Sensor     string  `json:"sensor,omitempty"`
}

// String is the conditions as a person reads them: "battery, low power mode, slowed by heat to 72 %, 61 °C".
func (p *Power) String() string {
	if p == nil {
		return ""
	}
	source := "mains"
	if p.OnBattery {
		source = "battery"
	}
	parts := []string{source}
	if p.LowPower {
		parts = append(parts, "low power mode")
	}
	if p.SpeedLimit > 0 && p.SpeedLimit < 100 {
		parts = append(parts, fmt.Sprintf("slowed by heat to %d %%", p.SpeedLimit))
	}
	if p.Celsius > 0 {
		parts = append(parts, fmt.Sprintf("%.0f °C", p.Celsius))
	}
	return strings.Join(parts, ", ")
}

// Slowed names what keeps the machine below its full speed, or is "".
func (p *Power) Slowed() string {
	switch {
	case p == nil:
		return ""
	case p.SpeedLimit > 0 && p.SpeedLimit < 100:
		return fmt.Sprintf("heat has slowed the processor to %d %%", p.SpeedLimit)
	case p.LowPower:
		return "low power mode is on"
	}
	return ""
}

// powerOfLinux reads what Linux tells under /sys: supplies, thermal zones and the firmware's profile. It is nil where the
// system tells nothing, as in most virtual machines.
func powerOfLinux(sys fs.FS) *Power {
	read := func(name string) string {
		b, err := fs.ReadFile(sys, name)
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(b))
	}
	p, told := &Power{}, false
	mains, online := false, false
	supplies, _ := fs.Glob(sys, "class/power_supply/*/type") // the pattern is well formed
	for _, name := range supplies {
		told = true
		if read(name) != "Battery" {
			mains = true
			online = online || read(path.Dir(name)+"/online") == "1"
		} else if read(path.Dir(name)+"/status") == "Discharging" {
			p.OnBattery = true
		}
	}
	p.OnBattery = p.OnBattery || mains && !online
	zones, _ := fs.Glob(sys, "class/thermal/thermal_zone*/temp")
	for _, name := range zones {
		if t, err := strconv.ParseFloat(read(name), 64); err == nil && t/1000 > p.Celsius && t < 150e3 { // thousandths of a degree
			p.Celsius, p.Sensor, told = t/1000, read(path.Dir(name)+"/type"), true
		}
	}
	if read("firmware/acpi/platform_profile") == "low-power" {
		p.LowPower, told = true, true
	}
	if !told {
		return nil
	}
	return p
}
