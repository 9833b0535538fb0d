package machine

import (
	"testing"
	"testing/fstest"
)

// What Linux tells of supplies and heat becomes one line; a virtual machine, which tells nothing, gives nil.
func TestPowerOfLinux(t *testing.T) {
	file := func(s string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(s + "\n")} }
	laptop := fstest.MapFS{
		"class/power_supply/AC/type": file("Mains"), "class/power_supply/AC/online": file("0"),
		"class/power_supply/BAT0/type": file("Battery"), "class/power_supply/BAT0/status": file("Discharging"),
		"class/thermal/thermal_zone0/temp": file("44000"), "class/thermal/thermal_zone0/type": file("acpitz"),
		"class/thermal/thermal_zone1/temp": file("61500"), "class/thermal/thermal_zone1/type": file("x86_pkg_temp"),
		"class/thermal/thermal_zone2/temp": file("-274000"),
		"firmware/acpi/platform_profile":   file("low-power"),
	}
	for _, c := range []struct {
		name         string
		sys          fstest.MapFS
		says, slowed string
	}{
		{"laptop", laptop, "battery, low power mode, 62 °C", "low power mode is on"},
		{"desktop", fstest.MapFS{"class/power_supply/AC/type": file("Mains"), "class/power_supply/AC/online": file("1")}, "mains", ""},
		{"virtual machine", fstest.MapFS{}, "", ""},
	} {
		p := powerOfLinux(c.sys)
		if p.String() != c.says || p.Slowed() != c.slowed {
			t.Errorf("%s: %q, %q", c.name, p.String(), p.Slowed())
		}
	}
	if p := powerOfLinux(laptop); p.Sensor != "x86_pkg_temp" || !p.OnBattery {
		t.Errorf("laptop: %+v", p)
	}
	if s := (&Power{SpeedLimit: 72}).Slowed(); s != "heat has slowed the processor to 72 %" {
		t.Error(s)
	}
}
