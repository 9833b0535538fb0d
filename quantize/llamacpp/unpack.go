package llamacpp

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

const (
	lockPoll = 200 * time.Millisecond
	// maxLibrary bounds one library of the package: the largest known is under 10 MiB, Metal's included.
	maxLibrary = 256 << 20
	// maxUnpacked bounds all of them: eighteen CPU variants take 30 MiB.
	maxUnpacked = 1 << 30
)

// wanted tells which files of the package are the runtime: shared libraries and the licence, without the Node add-on
// and the library that only llama.cpp's own programs use.
func wanted(name, goos string) bool {
	base := path.Base(name)
	if base == "LICENSE" {
		return true
	}
	library := strings.HasSuffix(base, ".so") || goos == "darwin" && strings.HasSuffix(base, ".dylib")
	return library && strings.HasPrefix(base, "lib") && !strings.HasPrefix(base, "libllama-common")
}

// unpackLibraries writes the wanted files of a tarball flat into dir and returns their SHA-256.
func unpackLibraries(tarball, dir, goos string) (map[string]string, error) {
	f, err := os.Open(tarball)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	zr, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	tr := tar.NewReader(zr)
	var total int64
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if h.Typeflag != tar.TypeReg || !wanted(h.Name, goos) {
			continue
		}
		if total += h.Size; h.Size > maxLibrary || total > maxUnpacked {
			return nil, fmt.Errorf("%s: %d bytes, at most %d in a file and %d in all are unpacked", h.Name, h.Size, maxLibrary, maxUnpacked)
		}
		if err := writeLibrary(filepath.Join(dir, path.Base(h.Name)), tr, h.Size); err != nil {
			return nil, err
		}
	}
	return digestLibraries(dir)
}

func writeLibrary(path string, r io.Reader, size int64) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	n, err := io.Copy(f, io.LimitReader(r, size))
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	return errors.Join(err, f.Sync(), f.Close())
}

func digestLibraries(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := make(map[string]string)
	for _, e := range entries {
		if !e.Type().IsRegular() {
			continue
		}
		if files[e.Name()], err = fileDigest(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// suffixed matches the names under which node-llama-cpp ships libllama and libggml, so that several releases can be
// loaded by one process: libllama.v0.5.0.so, libggml.metal.v0.5.0.dylib.
var suffixed = regexp.MustCompile(`^lib(llama|ggml)(?:\.[a-z]+)?\.v[0-9.]+\.(?:so|dylib)$`)

// linkPlainNames puts libllama.so and libggml.so beside the suffixed files. The links are relative: the folder moves.
func linkPlainNames(dir, goos string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		m := suffixed.FindStringSubmatch(e.Name())
		if m == nil {
			continue
		}
		link := filepath.Join(dir, fileName(goos, m[1]))
		if _, err := os.Lstat(link); err == nil {
			continue
		}
		if err := os.Symlink(e.Name(), link); err != nil {
			return err
		}
	}
	return nil
}
