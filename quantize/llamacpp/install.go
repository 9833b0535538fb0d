package llamacpp

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gofrs/flock"
)

// InstallOptions says where to and for which platform. The zero value installs for this user and this machine.
type InstallOptions struct {
	DataDir string       // "" means DataDir()
	Dir     string       // install into this folder instead of the data directory, as release archives do with lib/
	OS      string       // GOOS; "" means this one
	Arch    string       // GOARCH; "" means this one
	Force   bool         // install again over what is there
	Say     func(string) // progress in words; may be nil
}

// Installed is the result of Install.
type Installed struct {
	Dir      string
	Manifest Manifest
	Already  bool   // nothing was fetched: the folder held the verified build
	Note     string // what the user should know, such as a digest that only the registry vouches for; may be empty
}

func installDir(data, goos, goarch string) string {
	return filepath.Join(data, "runtime", "llama.cpp-"+Version+"-"+goos+"-"+goarch)
}

// Install fetches the pinned build, verifies it and puts it in place with one rename, so that a reader sees all of it
// or none. It uses npm's client, or else yzma's installer where that command is present.
func Install(ctx context.Context, o InstallOptions) (*Installed, error) {
	goos, goarch := platform(o.OS, o.Arch)
	say := o.Say
	if say == nil {
		say = func(string) {}
	}
	dir := o.Dir
	if dir == "" {
		data := o.DataDir
		if data == "" {
			data = DataDir()
		}
		if data == "" {
			return nil, &Error{Fault: Broken, Op: "install", Says: "there is no home directory to install into", Next: "set HOME or XDG_DATA_HOME"}
		}
		dir = installDir(data, goos, goarch)
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return nil, installError(dir, "the folder cannot be made", err)
	}
	lock := flock.New(filepath.Join(filepath.Dir(dir), "."+filepath.Base(dir)+".lock"))
	if _, err := lock.TryLockContext(ctx, lockPoll); err != nil {
		return nil, installError(dir, "another install holds the lock", err)
	}
	defer lock.Unlock()
	if m, err := readManifest(dir); err == nil && !o.Force && m.Version == Version && m.Verify(dir) == nil {
		return &Installed{Dir: dir, Manifest: *m, Already: true}, nil
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".runtime-*")
	if err != nil {
		return nil, installError(dir, "no temporary folder", err)
	}
	defer os.RemoveAll(tmp)
	return installInto(ctx, dir, tmp, goos, goarch, say)
}

func installInto(ctx context.Context, dir, tmp, goos, goarch string, say func(string)) (*Installed, error) {
	libs := filepath.Join(tmp, "lib")
	if err := os.Mkdir(libs, 0o755); err != nil {
		return nil, installError(dir, "no temporary folder", err)
	}
	m, note, err := fetchRuntime(ctx, tmp, libs, goos, goarch, say)
	if err != nil {
		return nil, err
	}
	if err := linkPlainNames(libs, goos); err != nil {
		return nil, installError(dir, "the plain names cannot be linked", err)
	}
	if goos == runtime.GOOS && goarch == runtime.GOARCH {
		if _, err := (&Runtime{Dir: libs}).CheckVersion(); err != nil {
			return nil, err
		}
	}
	if err := m.write(libs); err != nil {
		return nil, installError(dir, "the manifest cannot be written", err)
	}
	if err := replaceDir(dir, libs); err != nil {
		return nil, installError(dir, "the folder cannot be put in place", err)
	}
	say("installed llama.cpp " + Version + " in " + dir)
	return &Installed{Dir: dir, Manifest: *m, Note: note}, nil
}

// replaceDir renames fresh to dir; an older dir is moved aside first, since a rename does not replace a full folder.
func replaceDir(dir, fresh string) error {
	old := filepath.Join(filepath.Dir(fresh), "old")
	if err := os.Rename(dir, old); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return os.Rename(fresh, dir)
}

func fetchRuntime(ctx context.Context, tmp, libs, goos, goarch string, say func(string)) (*Manifest, string, error) {
	p, known := PackageFor(goos, goarch)
	npm, npmErr := exec.LookPath("npm")
	if known && npmErr == nil {
		m, note, err := fetchPackage(ctx, npm, p, tmp, libs, say)
		if err == nil {
			return m, note, nil
		}
		if yzma, missing := exec.LookPath("yzma"); missing == nil && ctx.Err() == nil && !isIntegrity(err) {
			say(err.Error() + "; trying yzma's installer")
			m, err := fetchWithYzma(ctx, yzma, libs, goos)
			return m, "", err
		}
		return nil, "", err
	}
	if yzma, err := exec.LookPath("yzma"); err == nil {
		m, err := fetchWithYzma(ctx, yzma, libs, goos)
		return m, "", err
	}
	if !known {
		return nil, "", &Error{Fault: Missing, Op: "install", On: goos + "/" + goarch, Says: "there is no prebuilt llama.cpp " + Version + " for this platform", Next: "build it and name its folder with --llama-lib DIR"}
	}
	return nil, "", &Error{Fault: Missing, Op: "install", Says: "neither npm nor yzma is in PATH", Next: "install Node.js (it brings npm), or build llama.cpp " + Version + " and name its folder with --llama-lib DIR"}
}

// fetchPackage lets npm's client fetch one tarball and unpacks its libraries after the digest was compared.
func fetchPackage(ctx context.Context, npm string, p Package, tmp, libs string, say func(string)) (*Manifest, string, error) {
	want, note := p.Integrity, ""
	if want == "" {
		out, err := runTool(ctx, tmp, npm, "view", p.spec(), "dist.integrity")
		if err != nil {
			return nil, "", err
		}
		want = strings.TrimSpace(out)
		note = "the digest of " + p.spec() + " is the registry's own: it is not pinned in this version of quern"
	}
	say("fetching " + p.spec() + " with npm")
	out, err := runTool(ctx, tmp, npm, "pack", "--silent", "--ignore-scripts", p.spec())
	if err != nil {
		return nil, "", err
	}
	lines := strings.Fields(out)
	if len(lines) == 0 {
		return nil, "", installError(p.spec(), "npm pack named no file", nil)
	}
	tarball := filepath.Join(tmp, filepath.Base(lines[len(lines)-1]))
	got, err := integrityOf(tarball)
	if err != nil {
		return nil, "", installError(p.spec(), "npm pack left no tarball", err)
	}
	if got != want {
		return nil, "", &Error{Fault: Integrity, Op: "install", On: p.spec(), Says: fmt.Sprintf("the tarball's digest is %.20s..., %.20s... is expected", got, want), Next: "try another registry or network: what came is not what was published"}
	}
	files, err := unpackLibraries(tarball, libs, p.OS)
	if err != nil {
		return nil, "", installError(p.spec(), "the tarball does not unpack", err)
	}
	return &Manifest{Version: Version, Package: p.spec(), Integrity: got, Pinned: p.Integrity != "", Files: files}, note, nil
}

// fetchWithYzma asks yzma's own installer for the same release; it checks digests itself.
func fetchWithYzma(ctx context.Context, yzma, libs, goos string) (*Manifest, error) {
	processor := "cpu"
	if goos == "darwin" {
		processor = "metal"
	}
	if _, err := runTool(ctx, libs, yzma, "install", "--lib", libs, "--version", Version, "--processor", processor, "--os", goos, "--verify", "require", "--quiet"); err != nil {
		return nil, err
	}
	files, err := digestLibraries(libs)
	if err != nil {
		return nil, installError(libs, "the installed libraries are not readable", err)
	}
	return &Manifest{Version: Version, Package: "yzma install --version " + Version, Files: files}, nil
}

// maxToolOutput bounds what is kept of an external tool's output.
const maxToolOutput = 64 << 10

// runTool runs an external program in dir and returns its standard output; its error output travels with a failure.
func runTool(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var out, errs tail
	out.max, errs.max = maxToolOutput, maxToolOutput
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return "", &Error{Fault: Broken, Op: "install", On: filepath.Base(name) + " " + strings.Join(args, " "), Says: "the tool failed", Next: "see its output above, or build llama.cpp " + Version + " and name its folder with --llama-lib DIR", Log: errs.lines(), Err: err}
	}
	return out.String(), nil
}

// integrityOf is a file's SHA-512 as npm writes it.
func integrityOf(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha512.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return "sha512-" + base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}

// isIntegrity keeps a wrong digest from being papered over by the second installer.
func isIntegrity(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Fault == Integrity
}

func installError(on, says string, err error) error {
	return &Error{Fault: Broken, Op: "install", On: on, Says: says, Next: "free some space, check the permissions, and run `quern runtime install` again", Err: err}
}
