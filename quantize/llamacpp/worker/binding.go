package worker

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/hybridgroup/yzma/pkg/llama"

	"quern/quantize/llamacpp"
)

// binding holds the functions that are called besides yzma's: those that yzma lacks, and those whose arguments are
// bytes that yzma would cut at a NUL.
type binding struct {
	dir          string
	tokenize     uintptr // int32 llama_tokenize(vocab, text, n, tokens, max, add_special, parse_special)
	detokenize   uintptr // int32 llama_detokenize(vocab, tokens, n, text, max, remove_special, unparse_special)
	procAddress  uintptr // void * ggml_backend_reg_get_proc_address(reg, name)
	threadParams uintptr // void ggml_threadpool_params_init(params, n_threads)
	tensorGet    uintptr // void ggml_backend_tensor_get(tensor, data, offset, size)
	bufferIsHost uintptr // bool ggml_backend_buffer_is_host(buffer)
	tensorBytes  uintptr // size_t ggml_nbytes(tensor)
}

// open loads the runtime. The version is asked through libllama's own function before yzma prepares any call that
// passes a structure.
func (s *session) open(a llamacpp.OpenArgs) (any, error) {
	if s.lib != nil {
		return nil, fmt.Errorf("the session is open already")
	}
	rt := &llamacpp.Runtime{Dir: a.Dir}
	version, err := rt.CheckVersion()
	if err != nil && (version == "" || !a.Force) {
		return nil, err
	}
	if err := llama.Load(a.Dir); err != nil {
		return nil, &llamacpp.Error{Fault: llamacpp.Broken, Op: "load", On: a.Dir, Says: "the libraries do not load", Next: "run `quern runtime install`", Err: err}
	}
	b, err := bind(a.Dir)
	if err != nil {
		return nil, err
	}
	s.log.install()
	llama.BackendInit()
	if err := llama.GGMLBackendLoadAllFromPath(a.Dir); err != nil {
		return nil, &llamacpp.Error{Fault: llamacpp.Broken, Op: "load", On: a.Dir, Says: "the compute backends do not load", Err: err}
	}
	if llama.GGMLBackendDeviceCount() == 0 {
		llama.GGMLBackendLoadAll() // a system's own build looks in the folder that it was configured with
	}
	if llama.GGMLBackendDeviceByType(llama.GGMLBackendDeviceTypeCPU) == 0 {
		return nil, &llamacpp.Error{Fault: llamacpp.Broken, Op: "load", On: a.Dir, Says: "there is no CPU backend for this processor", Next: "run `quern runtime install`"}
	}
	s.lib = b
	sys := llamacpp.System{Version: version, Features: llama.PrintSystemInfo(), Devices: devices(), Notes: s.log.all()}
	sys.Tensor = metalFlag(sys.Notes, "has tensor")
	return sys, nil
}

// bind looks the additional functions up in the libraries that yzma has loaded: dlopen gives the same handles again.
func bind(dir string) (*binding, error) {
	b := &binding{dir: dir}
	for _, f := range []struct {
		lib, name string
		to        *uintptr
	}{
		{"llama", "llama_tokenize", &b.tokenize},
		{"llama", "llama_detokenize", &b.detokenize},
		{"ggml-base", "ggml_backend_reg_get_proc_address", &b.procAddress},
		{"ggml-base", "ggml_threadpool_params_init", &b.threadParams},
		{"ggml-base", "ggml_backend_tensor_get", &b.tensorGet},
		{"ggml-base", "ggml_backend_buffer_is_host", &b.bufferIsHost},
		{"ggml-base", "ggml_nbytes", &b.tensorBytes},
	} {
		path := (&llamacpp.Runtime{Dir: dir}).Path(f.lib)
		h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
		if err == nil {
			*f.to, err = purego.Dlsym(h, f.name)
		}
		if err != nil {
			return nil, &llamacpp.Error{Fault: llamacpp.Mismatch, Op: "load", On: filepath.Base(path), Says: "there is no " + f.name, Err: err}
		}
	}
	return b, nil
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
func devices() []llamacpp.Device {
	var list []llamacpp.Device
	for i := range llama.GGMLBackendDeviceCount() {
		d := llama.GGMLBackendDeviceGet(i)
		free, total := llama.GGMLBackendDeviceMemory(d)
		list = append(list, llamacpp.Device{
			Name:        llama.GGMLBackendDeviceName(d),
			Description: llama.GGMLBackendDeviceDescription(d),
			Kind:        deviceKinds[llama.GGMLBackendDevType(d)],
			Backend:     llama.GGMLBackendRegName(llama.GGMLBackendDeviceBackendReg(d)),
			Free:        free, Total: total,
		})
	}
	return list
}

var deviceKinds = map[llama.GGMLBackendDeviceType]string{
	llama.GGMLBackendDeviceTypeCPU: "cpu", llama.GGMLBackendDeviceTypeGPU: "gpu", llama.GGMLBackendDeviceTypeIGPU: "igpu",
	llama.GGMLBackendDeviceTypeACCEL: "accel", llama.GGMLBackendDeviceTypeMETA: "meta",
}

// threadPool is a persistent pool of ggml threads. Without one the CPU backend starts its threads anew for every
// graph, which costs several-fold on small models.
type threadPool struct {
	handle uintptr
	free   uintptr
}

// sizeThreadParams is more than sizeof(struct ggml_threadpool_params): 512 flags and five small fields (ggml.h).
const sizeThreadParams = 1024

// newThreadPool makes a pool of n threads, or none where the CPU backend has no such function.
func (b *binding) newThreadPool(n int) threadPool {
	reg := llama.GGMLBackendDeviceBackendReg(llama.GGMLBackendDeviceByType(llama.GGMLBackendDeviceTypeCPU))
	proc := func(name string) uintptr {
		p, _, _ := purego.SyscallN(b.procAddress, uintptr(reg), uintptr(unsafe.Pointer(unsafe.StringData(name+"\x00"))))
		return p
	}
	create, free := proc("ggml_threadpool_new"), proc("ggml_threadpool_free")
	if create == 0 || free == 0 {
		return threadPool{}
	}
	var params [sizeThreadParams]byte
	purego.SyscallN(b.threadParams, uintptr(unsafe.Pointer(&params)), uintptr(n))
	h, _, _ := purego.SyscallN(create, uintptr(unsafe.Pointer(&params)))
	return threadPool{handle: h, free: free}
}

// close joins the pool's threads; a context that still has the pool attached must be freed or detached before.
func (p threadPool) close() {
	if p.handle != 0 {
		purego.SyscallN(p.free, p.handle)
	}
}

// boolArg passes a C bool in a register.
func boolArg(b bool) uintptr {
	if b {
		return 1
	}
	return 0
}

// int32Result takes the lower half of a register: the upper half of a C int result is undefined.
func int32Result(r uintptr) int32 { return int32(uint32(r)) }

// tokenizeBytes is llama_tokenize over any bytes, NUL included.
func (b *binding) tokenizeBytes(v llama.Vocab, text []byte, special, parse bool) ([]int32, error) {
	if len(text) > llamacpp.MaxFrame {
		return nil, fmt.Errorf("text of %d bytes, at most %d are tokenized", len(text), llamacpp.MaxFrame)
	}
	ids := make([]int32, len(text)+16)
	for {
		r, _, _ := purego.SyscallN(b.tokenize, uintptr(v), uintptr(unsafe.Pointer(unsafe.SliceData(text))), uintptr(len(text)),
			uintptr(unsafe.Pointer(unsafe.SliceData(ids))), uintptr(len(ids)), boolArg(special), boolArg(parse))
		n := int32Result(r)
		if n >= 0 {
			return ids[:n], nil
		}
		if -int64(n) <= int64(len(ids)) || -int64(n) > 64*int64(len(text)+16) {
			return nil, fmt.Errorf("llama.cpp does not tokenize %d bytes (%d)", len(text), n)
		}
		ids = make([]int32, -n)
	}
}

// detokenizeBytes is llama_detokenize; the bytes need not be UTF-8.
func (b *binding) detokenizeBytes(v llama.Vocab, ids []int32, render bool) ([]byte, error) {
	text := make([]byte, 8*len(ids)+64)
	for range 2 {
		r, _, _ := purego.SyscallN(b.detokenize, uintptr(v), uintptr(unsafe.Pointer(unsafe.SliceData(ids))), uintptr(len(ids)),
			uintptr(unsafe.Pointer(unsafe.SliceData(text))), uintptr(len(text)), 0, boolArg(render))
		n := int32Result(r)
		if n >= 0 {
			return text[:n], nil
		}
		text = make([]byte, -int64(n))
	}
	return nil, fmt.Errorf("llama.cpp does not detokenize %d ids", len(ids))
}

// physicalCores is the number of threads that llama.cpp's own programs use on this machine, near enough: all
// logical processors but the second ones of a core.
func physicalCores() int {
	if n := coresOf(); n > 0 {
		return min(n, runtime.NumCPU())
	}
	return runtime.NumCPU()
}
