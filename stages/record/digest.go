package record

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"quern/hfclient"
	"quern/stages/job"
	"quern/stages/source"

	"golang.org/x/sync/errgroup"
)

// Sources lists the files that a build reads, with their digests, and how they are proven. The Hub's are verified when they
// are fetched; local ones are read here, mostly from the page cache, unless the state has their digests.
func Sources(ctx context.Context, s *job.State) ([]FileDigest, string, error) {
	if s.Source.Kind == source.Hub && s.Stream {
		return streamed(s)
	}
	if s.Source.Kind == source.Hub {
		var fd []FileDigest
		for _, f := range s.Pull.Files {
			fd = append(fd, FileDigest{Name: f.Path, Size: f.Size, Digest: f.Digest()})
		}
		return fd, "every file against the digest in the Hub's listing", nil
	}
	names, err := localNames(s)
	if err != nil {
		return nil, "", err
	}
	fd := make([]FileDigest, len(names))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range names {
		g.Go(func() error {
			f, err := s.Source.FS.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			fd[i].Name = name
			if d, ok := s.Digests[name]; ok {
				fi, err := f.Stat()
				if err == nil {
					fd[i].Digest, fd[i].Size = d, fi.Size()
				}
				return err
			}
			fd[i].Digest, fd[i].Size, err = sum(ctx, f)
			return err
		})
	}
	return fd, "read from this machine", g.Wait()
}

// streamed says of each file how its bytes were proven while they passed.
func streamed(s *job.State) ([]FileDigest, string, error) {
	level := map[string]hfclient.Level{}
	for _, e := range s.Remote.Evidence() {
		level[e.File.Path] = e.Level
	}
	var fd []FileDigest
	n := 0
	for _, f := range s.Pull.Files {
		d := FileDigest{Name: f.Path, Size: f.Size, Digest: f.Digest(), Verified: string(hfclient.ByDigest)}
		if l, ok := level[f.Path]; ok {
			d.Verified = string(l)
		}
		if d.Verified != string(hfclient.ByDigest) {
			n++
		}
		fd = append(fd, d)
	}
	return fd, fmt.Sprintf("streamed from the Hub: %d files by their digest, %d by length and ETag only", len(fd)-n, n), nil
}

func localNames(s *job.State) ([]string, error) {
	if s.Source.Kind == source.GGUF {
		var names []string
		for _, p := range s.Parts {
			names = append(names, p.Name)
		}
		return names, nil
	}
	entries, err := fs.ReadDir(s.Source.FS, ".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() || e.Type()&fs.ModeSymlink != 0 {
			names = append(names, e.Name())
		}
	}
	return slices.DeleteFunc(names, func(n string) bool { return !read(n) }), nil
}

// read tells whether a conversion reads files of that name: what else lies in the folder has no part in the result.
func read(name string) bool {
	switch filepath.Ext(name) {
	case ".json", ".safetensors", ".model", ".txt", ".jinja", ".tiktoken", ".bin", ".pth", ".md":
		return true
	}
	return false
}

// sum is the SHA-256 of r and its length.
func sum(ctx context.Context, r io.Reader) (string, int64, error) {
	h := sha256.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{h}, &stopping{ctx, r}, make([]byte, 1<<20))
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), n, err
}

// stopping is a reader that ends with its context.
type stopping struct {
	ctx context.Context
	r   io.Reader
}

func (s *stopping) Read(b []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	return s.r.Read(b)
}

// SumFile is the digest of a file, as receipts have it, and its size.
func SumFile(ctx context.Context, path string) (string, int64, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	return sum(ctx, f)
}

func platform() string { return runtime.GOOS + "/" + runtime.GOARCH }
