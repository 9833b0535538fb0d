package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
)

// Names lists the files of a checkpoint's folder that a conversion reads: what else lies there has no part in the result.
func Names(fsys fs.FS) ([]string, error) {
	entries, err := fs.ReadDir(fsys, ".")
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() || e.Type()&fs.ModeSymlink != 0 {
			names = append(names, e.Name())
		}
	}
	return slices.DeleteFunc(names, func(n string) bool { return !read(n) }), err
}

func read(name string) bool {
	switch filepath.Ext(name) {
	case ".json", ".safetensors", ".model", ".txt", ".jinja", ".tiktoken", ".bin", ".pth", ".md":
		return true
	}
	return false
}

// Digests reads files from beginning to end, in the order of names, as many at once as half of the cores: it may run beside a
// build that reads the same files in the same order, so that each comes from the disk once.
func Digests(ctx context.Context, fsys fs.FS, names []string) ([]string, error) {
	digests := make([]string, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, runtime.GOMAXPROCS(0)/2))
	for i, name := range names {
		g.Go(func() error {
			f, err := fsys.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			digests[i], _, err = Digest(ctx, f)
			return err
		})
	}
	return digests, g.Wait()
}

// Digest is the SHA-256 of r as "sha256:" and hexadecimal, and the length of r.
func Digest(ctx context.Context, r io.Reader) (digest string, size int64, err error) {
	h := sha256.New()
	size, err = io.CopyBuffer(struct{ io.Writer }{h}, &stopping{ctx, r}, make([]byte, 1<<20))
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), size, err
}

// SumFile is the digest of a file, as receipts have it, and its size.
func SumFile(ctx context.Context, path string) (digest string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	return Digest(ctx, f)
}

// stopping is a reader that ends with its context.
type stopping struct {
	ctx context.Context
	r   io.Reader
}

func (s *stopping) Read(b []byte) (int, error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	return s.r.Read(b)
}
