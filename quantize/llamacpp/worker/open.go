package worker

import (
	"fmt"
	"runtime"
	"strings"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/capi"
)

// open loads the runtime. The version is asked before any call that passes a structure.
func (s *session) open(a llamacpp.OpenArgs) (any, error) {
	if s.lib != nil {
		return nil, fmt.Errorf("the session is open already")
	}
	rt := &llamacpp.Runtime{Dir: a.Dir}
	version, err := rt.CheckVersion()
	if err != nil && (version == "" || !a.Force) {
		return nil, err
	}
	lib, err := capi.Open(rt.Path("llama"))
	if err != nil {
		return nil, &llamacpp.Error{Fault: llamacpp.Mismatch, Op: "load", On: a.Dir, Says: "the libraries do not have what quern calls", Next: "run `quern runtime install`", Err: err}
	}
	s.log.install(lib)
	lib.BackendInit()
	lib.LoadBackendsFrom(a.Dir)
	if lib.DeviceCount() == 0 {
		lib.LoadBackends() // a system's own build looks in the folder that it was configured with
	}
	if lib.DeviceOf(capi.DeviceCPU) == 0 {
		return nil, &llamacpp.Error{Fault: llamacpp.Broken, Op: "load", On: a.Dir, Says: "there is no CPU backend for this processor", Next: "run `quern runtime install`"}
	}
	s.lib, s.dir = lib, a.Dir
	sys := llamacpp.System{Version: version, Features: lib.SystemInfo(), Devices: devices(lib), Notes: s.log.all()}
	sys.Tensor = metalFlag(sys.Notes, "has tensor")
	return sys, nil
}

// metalFlag reads a property out of what Metal writes when it starts: "ggml_metal_device_init: has tensor = true".
func metalFlag(notes []string, name string) string {
	for _, l := range notes {
		if _, rest, ok := strings.Cut(l, name); ok && strings.HasPrefix(strings.TrimSpace(rest), "=") {
			return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(rest), "="))
		}
	}
	return ""
}

// devices lists what the backends registered, in ggml's order of preference.
func devices(lib *capi.Library) []llamacpp.Device {
	var list []llamacpp.Device
	for i := range lib.DeviceCount() {
		d := lib.DeviceAt(i)
		var free, total uint64
		lib.DeviceMemory(d, &free, &total)
		list = append(list, llamacpp.Device{
			Name:        lib.DeviceName(d),
			Description: lib.DeviceText(d),
			Kind:        deviceKinds[lib.DeviceKind(d)],
			Backend:     lib.RegistryName(lib.RegistryOf(d)),
			Free:        free, Total: total,
		})
	}
	return list
}

var deviceKinds = map[capi.DeviceKind]string{
	capi.DeviceCPU: "cpu", capi.DeviceGPU: "gpu", capi.DeviceIGPU: "igpu",
	capi.DeviceAccel: "accel", capi.DeviceMeta: "meta",
}

// physicalCores is the number of threads that llama.cpp's own programs use on this machine, near enough: all
// logical processors but the second ones of a core.
func physicalCores() int {
	if n := coresOf(); n > 0 {
		return min(n, runtime.NumCPU())
	}
	return runtime.NumCPU()
}
