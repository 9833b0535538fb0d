package conformance

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"
)

// A bundle is test data of the project itself, but a damaged one must not take the machine down.
const (
	maxBundle      = 256 << 20 // bytes of all files
	maxBundleFiles = 20_000
)

// OpenBundle reads a packed folder (.tar.zst) into memory. Its files implement io.ReaderAt.
func OpenBundle(name string) (fs.FS, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	tree, err := Unpack(f)
	if err != nil {
		return nil, fmt.Errorf("bundle %s: %w", name, err)
	}
	return tree, nil
}

// Unpack reads a packed folder into memory.
func Unpack(r io.Reader) (fs.FS, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxBundle))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	// sizes are checked before memory is taken; a size that lies is cut off by the limit below
	tree, room := fstest.MapFS{}, int64(maxBundle)
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return tree, nil
		}
		if err != nil {
			return nil, err
		}
		if room -= h.Size; room < 0 || len(tree) == maxBundleFiles {
			return nil, fmt.Errorf("%s: more than %d bytes or %d files", h.Name, maxBundle, maxBundleFiles)
		}
		if h.Typeflag != tar.TypeReg || !fs.ValidPath(h.Name) || tree[h.Name] != nil {
			return nil, fmt.Errorf("%q: not a plain file inside the folder, or there twice", h.Name)
		}
		data, err := io.ReadAll(io.LimitReader(t, h.Size))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", h.Name, err)
		}
		tree[h.Name] = &fstest.MapFile{Data: data, Mode: 0o644}
	}
}

// Pack writes the files of a folder in order of their names, without times, owners or modes: equal folders give equal bytes.
func Pack(w io.Writer, folder fs.FS) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
	if err != nil {
		return err
	}
	// one goroutine and a fixed level: the encoder's output then depends on its input alone
	t := tar.NewWriter(z)
	err = fs.WalkDir(folder, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(folder, name)
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: int64(len(data)), Mode: 0o644, Format: tar.FormatUSTAR}); err != nil {
			return err
		}
		_, err = t.Write(data)
		return err
	})
	return errors.Join(err, t.Close(), z.Close())
}
