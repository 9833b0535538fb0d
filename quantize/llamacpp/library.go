package llamacpp

import (
	"slices"
	"strings"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is one loaded shared library. It stays loaded: ggml keeps tables and threads that outlive any owner.
type library uintptr

func openLibrary(path string) (library, error) {
	h, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return 0, &Error{Fault: Broken, Op: "load", On: path, Says: "the library does not load", Next: loadHint(err), Err: err}
	}
	return library(h), nil
}

// loadHint names the packages that prebuilt libraries need where the loader misses them.
func loadHint(err error) string {
	switch s := err.Error(); {
	case strings.Contains(s, "libgomp"):
		return "install the OpenMP runtime (libgomp1)"
	case strings.Contains(s, "libstdc++"), strings.Contains(s, "libgcc_s"):
		return "install the C++ runtime (libstdc++6, libgcc-s1)"
	case strings.Contains(s, "GLIBC"):
		return "this system's C library is older than the prebuilt llama.cpp needs: build llama.cpp " + Version + " and name its folder with --llama-lib"
	}
	return installHint
}

func (l library) symbol(name string) (uintptr, error) {
	p, err := purego.Dlsym(uintptr(l), name)
	if err != nil {
		return 0, &Error{Fault: Mismatch, Op: "load", Says: "the library has no " + name, Next: installHint, Err: err}
	}
	return p, nil
}

// text calls a function without arguments that returns a constant string.
func (l library) text(name string) (string, error) {
	p, err := l.symbol(name)
	if err != nil {
		return "", err
	}
	r, _, _ := purego.SyscallN(p)
	return cString(r), nil
}

// maxCString bounds a constant string that a library returns.
const maxCString = 4096

// cString copies a C string. The conversion through a pointer to the variable is what vet accepts for memory
// that Go does not own.
func cString(p uintptr) string {
	if p == 0 {
		return ""
	}
	b := *(**[maxCString]byte)(unsafe.Pointer(&p))
	for i := range maxCString {
		if b[i] == 0 {
			return string(b[:i])
		}
	}
	return string(b[:])
}

// CheckVersion loads libllama into this process and asks its version. It returns what the library answers; the error
// tells when that is not the pinned release. Call it before any function that takes a structure.
func (r *Runtime) CheckVersion() (string, error) {
	l, err := openLibrary(r.Path("llama"))
	if err != nil {
		return "", err
	}
	got, err := l.text("llama_version")
	if err != nil {
		return "", &Error{Fault: Mismatch, Op: "load", On: r.Dir, Says: "libllama does not tell its version, so it is older than " + Version, Next: installHint, Err: err}
	}
	if !slices.Contains(answers, got) {
		return got, &Error{Fault: Mismatch, Op: "load", On: r.Dir, Says: "libllama is version " + got + ", quern is made for " + Version, Next: installHint}
	}
	return got, nil
}
