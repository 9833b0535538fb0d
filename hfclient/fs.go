package hfclient

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// FS is one pinned revision as a file system whose files implement io.ReaderAt. What the cache holds is read from
// disk. Small files come through the cache, proven. Weights are read by ranges: the head of a safetensors file is
// kept in the cache, the rest only in memory, within a fixed budget. It is safe for concurrent use; the context that
// it was made with bounds all its reading.
type FS struct {
	c       *Client
	rev     *Revision
	ctx     context.Context
	budget  *blockBudget
	fetched atomic.Int64

	mu     sync.Mutex
	remote map[string]*remoteFile
	local  map[string]File // weights that are read from the cache
}

// FS gives the files of a resolved revision.
func (c *Client) FS(ctx context.Context, rev *Revision) *FS {
	return &FS{c: c, rev: rev, ctx: ctx, budget: newBudget(blockMemory), remote: map[string]*remoteFile{}, local: map[string]File{}}
}

// Revision is what the file system shows.
func (s *FS) Revision() *Revision { return s.rev }

// Fetched is the number of bytes of files that came over the network so far.
func (s *FS) Fetched() int64 { return s.fetched.Load() }

// isWeights says which files are never fetched whole by reading them.
func isWeights(p string) bool {
	switch strings.ToLower(path.Ext(p)) {
	case ".safetensors", ".bin", ".pth", ".pt", ".gguf", ".onnx", ".h5", ".msgpack":
		return true
	}
	return false
}

// Open implements fs.FS. Errors match fs.ErrNotExist and the kinds of this package.
func (s *FS) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrInvalid}
	}
	f, err := s.rev.File(name)
	if err != nil {
		if list := s.list(name); list != nil {
			return &folder{info: info{name: path.Base(name), dir: true}, entries: list}, nil
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: missing{err}}
	}
	on, _ := s.c.cache.where(s.rev.Repo, s.rev.Commit, f)
	if isWeights(name) || f.Size > maxIndex {
		if on == "" {
			return s.openRemote(f)
		}
		s.mu.Lock()
		s.local[name] = f
		s.mu.Unlock()
	} else if on, err = s.obtain(s.ctx, f); err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	file, err := os.Open(on)
	if err != nil {
		return nil, cacheError(err)
	}
	return &localFile{File: file, info: info{name: path.Base(name), size: f.Size}}, nil
}

// missing is an error of ours that is also fs.ErrNotExist.
type missing struct{ error }

// Is makes errors.Is(err, fs.ErrNotExist) true.
func (m missing) Is(target error) bool { return target == fs.ErrNotExist }

// Unwrap gives our own error.
func (m missing) Unwrap() error { return m.error }

// obtain brings a small file into the cache and gives its path.
func (s *FS) obtain(ctx context.Context, f File) (string, error) {
	n, err := s.c.obtainAll(ctx, s.rev, []File{f}, nil)
	s.fetched.Add(n)
	if err != nil {
		return "", err
	}
	on, _ := s.c.cache.where(s.rev.Repo, s.rev.Commit, f)
	if on == "" {
		return "", &Error{Kind: ErrCache, On: s.rev.Repo + "/" + f.Path, Says: "vanished from the cache", Next: "run the same command again"}
	}
	return on, nil
}

// Warm fetches in parallel what a plan reads: small files whole, and the heads of safetensors files. What the cache
// holds costs nothing.
func (s *FS) Warm(ctx context.Context, files []File) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(s.c.o.Connections)
	for _, f := range files {
		if isWeights(f.Path) && path.Ext(f.Path) != ".safetensors" {
			continue
		}
		g.Go(func() error {
			if !isWeights(f.Path) {
				_, err := s.obtain(ctx, f)
				return err
			}
			if on, _ := s.c.cache.where(s.rev.Repo, s.rev.Commit, f); on != "" {
				return nil
			}
			r, err := s.openRemote(f)
			if err == nil {
				_, err = r.remoteFile.header(ctx)
			}
			return err
		})
	}
	return g.Wait()
}

// openRemote gives all handles of one file the same blocks.
func (s *FS) openRemote(f File) (*remoteHandle, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.remote[f.Path]
	if r == nil {
		r = newRemoteFile(s, f)
		s.remote[f.Path] = r
	}
	return &remoteHandle{remoteFile: r}, nil
}

// list gives the entries of a folder, or nil if there is none of this name.
func (s *FS) list(dir string) []fs.DirEntry {
	prefix := dir + "/"
	if dir == "." {
		prefix = ""
	}
	seen := map[string]bool{}
	var out []fs.DirEntry
	if dir == "." {
		out = []fs.DirEntry{}
	}
	for _, f := range s.rev.Files {
		rest, ok := strings.CutPrefix(f.Path, prefix)
		if !ok {
			continue
		}
		first, _, deeper := strings.Cut(rest, "/")
		if seen[first] {
			continue
		}
		seen[first] = true
		i := info{name: first, dir: deeper}
		if !deeper {
			i.size = f.Size
		}
		out = append(out, fs.FileInfoToDirEntry(i))
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name() < out[j].Name() })
	return out
}

// info is what a listing tells of a file.
type info struct {
	name string
	size int64
	dir  bool
}

// Name implements fs.FileInfo.
func (i info) Name() string { return i.name }

// Size implements fs.FileInfo.
func (i info) Size() int64 { return i.size }

// Mode implements fs.FileInfo.
func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// ModTime implements fs.FileInfo; a commit's files have none.
func (i info) ModTime() time.Time { return time.Time{} }

// IsDir implements fs.FileInfo.
func (i info) IsDir() bool { return i.dir }

// Sys implements fs.FileInfo.
func (i info) Sys() any { return nil }

// localFile reads the cache under the name that the revision gives.
type localFile struct {
	*os.File
	info info
}

// Stat implements fs.File.
func (f *localFile) Stat() (fs.FileInfo, error) { return f.info, nil }

// folder implements fs.ReadDirFile.
type folder struct {
	info    info
	entries []fs.DirEntry
}

// Stat implements fs.File.
func (d *folder) Stat() (fs.FileInfo, error) { return d.info, nil }

// Close implements fs.File.
func (d *folder) Close() error { return nil }

// Read implements fs.File.
func (d *folder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.info.name, Err: fmt.Errorf("is a folder")}
}

// ReadDir implements fs.ReadDirFile.
func (d *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		all := d.entries
		d.entries = nil
		return all, nil
	}
	if len(d.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.entries))
	some := d.entries[:n]
	d.entries = d.entries[n:]
	return some, nil
}
