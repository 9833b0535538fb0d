package llamacpp

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Origin tells where a runtime was found.
type Origin string

// The origins, in the order in which they are tried.
const (
	FromOption      Origin = "option"      // --llama-lib
	FromEnvironment Origin = "environment" // QUERN_LLAMA_LIB
	FromBeside      Origin = "beside"      // lib/ beside the binary, as release archives have it
	FromInstalled   Origin = "installed"   // the user data directory
	FromHomebrew    Origin = "homebrew"
	FromSystem      Origin = "system"
)

// EnvLib is the environment variable that names a folder of llama.cpp libraries.
const EnvLib = "QUERN_LLAMA_LIB"

// Runtime is a folder with the llama.cpp libraries under their plain names.
type Runtime struct {
	Dir    string
	Origin Origin
	// Manifest is what the installer wrote beside the libraries; nil for libraries from elsewhere.
	Manifest *Manifest
}

// FindOptions narrows the search. The zero value searches as the command does.
type FindOptions struct {
	Dir     string   // --llama-lib; no other place is tried when it is set
	Exe     string   // the binary beside which lib/ is looked for; "" means this one
	DataDir string   // the user data directory; "" means DataDir()
	System  []string // folders tried last; nil means Homebrew's and the system's
}

// DataDir is quern's folder in the user's data directory: $XDG_DATA_HOME/quern, ~/.local/share/quern, or
// ~/Library/Application Support/quern on macOS. It is "" when there is no home directory.
func DataDir() string {
	if d := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "quern")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	if runtime.GOOS == "darwin" {
		return filepath.Join(home, "Library", "Application Support", "quern")
	}
	return filepath.Join(home, ".local", "share", "quern")
}

// Find returns the first runtime that is there. It looks at files only: the version is checked where the libraries
// are loaded. A folder that was named and has no libraries is an error; places that were not named are passed over.
func Find(o FindOptions) (*Runtime, error) {
	named := []place{{o.Dir, FromOption}, {os.Getenv(EnvLib), FromEnvironment}}
	for _, p := range named {
		if p.dir == "" {
			continue
		}
		if lacks := missing(p.dir); lacks != "" {
			return nil, &Error{Fault: Missing, Op: "find", On: p.dir, Says: "there is no " + lacks + " in the folder that the " + string(p.from) + " names", Next: installHint}
		}
		return describe(p), nil
	}
	var tried []string
	for _, p := range places(o) {
		if missing(p.dir) == "" {
			return describe(p), nil
		}
		tried = append(tried, p.dir)
	}
	return nil, &Error{Fault: Missing, Op: "find", Says: "no llama.cpp libraries in " + strings.Join(tried, ", "), Next: installHint}
}

type place struct {
	dir  string
	from Origin
}

func describe(p place) *Runtime {
	r := &Runtime{Dir: p.dir, Origin: p.from}
	if m, err := readManifest(p.dir); err == nil {
		r.Manifest = m
	}
	return r
}

func places(o FindOptions) []place {
	var ps []place
	exe := o.Exe
	if exe == "" {
		exe, _ = os.Executable()
	}
	if real, err := filepath.EvalSymlinks(exe); err == nil {
		ps = append(ps, place{filepath.Join(filepath.Dir(real), "lib"), FromBeside})
	}
	data := o.DataDir
	if data == "" {
		data = DataDir()
	}
	if data != "" {
		ps = append(ps, place{installDir(data, runtime.GOOS, runtime.GOARCH), FromInstalled})
	}
	if o.System != nil {
		for _, d := range o.System {
			ps = append(ps, place{d, FromSystem})
		}
		return ps
	}
	for _, d := range homebrewDirs {
		ps = append(ps, place{d, FromHomebrew})
	}
	for _, d := range systemDirs() {
		ps = append(ps, place{d, FromSystem})
	}
	return ps
}

var homebrewDirs = []string{"/opt/homebrew/lib", "/home/linuxbrew/.linuxbrew/lib"}

func systemDirs() []string {
	dirs := []string{"/usr/local/lib"}
	if runtime.GOOS == "linux" {
		triplet := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
		dirs = append(dirs, "/usr/lib/"+triplet, "/usr/lib64", "/usr/lib")
	}
	return dirs
}

// libraries are the short names of what a runtime needs; the CPU backends may be plug-ins under any name.
var libraries = []string{"ggml-base", "ggml", "llama"}

func fileName(goos, short string) string {
	if goos == "darwin" {
		return "lib" + short + ".dylib"
	}
	return "lib" + short + ".so"
}

// missing names the first library that the folder lacks, or is "".
func missing(dir string) string {
	for _, short := range libraries {
		name := fileName(runtime.GOOS, short)
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return name
		}
	}
	return ""
}

// Path is the file of a library by its short name ("llama", "ggml", "ggml-base").
func (r *Runtime) Path(short string) string {
	return filepath.Join(r.Dir, fileName(runtime.GOOS, short))
}

// String says what is used and where it comes from.
func (r *Runtime) String() string { return fmt.Sprintf("%s (%s)", r.Dir, r.Origin) }
