package hfclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/google/renameio/v2"
)

// cache is the folder that Python's huggingface_hub shares with us:
//
//	models--org--name/blobs/<etag>                  the data, named by its digest
//	models--org--name/refs/<revision>               a commit, no line end
//	models--org--name/snapshots/<commit>/<path>     a relative link to the blob
//	models--org--name/.no_exist/<commit>/<path>     known not to be there
//	.locks/models--org--name/<etag>.lock            flock, never removed
//
// Ours alone, unseen by Python's scan:
//
//	models--org--name/blobs/<etag>.quern.incomplete and .quern.progress
//	models--org--name/.quern/listings/<commit>.json   what the Hub lists
//	models--org--name/.quern/headers/<etag>           the head of a safetensors file
//	models--org--name/.quern/proofs/<etag>            a digest that was computed, and of which file
//	models--org--name/.quern/refs/<revision>          resolved without a download
type cache struct {
	root string
	// The operating system, replaced by tests.
	symlink func(target, name string) error
	free    func(dir string) (int64, error)
	write   func(f *os.File, p []byte, off int64) (int, error)
}

// newCache uses the real operating system.
func newCache(root string) *cache {
	return &cache{root: root, symlink: renameio.Symlink, free: freeSpace,
		write: func(f *os.File, p []byte, off int64) (int, error) { return f.WriteAt(p, off) }}
}

// folder is the repo's place; CheckRepo has kept "--" and ".." out of the id, so two repos never share one.
func (c *cache) folder(repo string) string {
	return filepath.Join(c.root, "models--"+strings.ReplaceAll(repo, "/", "--"))
}

// blob is named by a digest that checkFiles has found to be hexadecimal.
func (c *cache) blob(repo, etag string) string { return filepath.Join(c.folder(repo), "blobs", etag) }

// snapshot is the folder of one commit; it may hold some of its files only.
func (c *cache) snapshot(repo, commit string) string {
	return filepath.Join(c.folder(repo), "snapshots", commit)
}

// pointer needs a path that cleanName has passed.
func (c *cache) pointer(repo, commit, path string) string {
	return filepath.Join(c.snapshot(repo, commit), filepath.FromSlash(path))
}

// own is below a folder that Python's scan does not look at, and that goes when the repo's folder goes.
func (c *cache) own(repo string, elem ...string) string {
	return filepath.Join(append([]string{c.folder(repo), ".quern"}, elem...)...)
}

// where finds the data of f: the file that its pointer leads to, or its blob, if the size is right.
func (c *cache) where(repo, commit string, f File) (path string, pointed bool) {
	p := c.pointer(repo, commit, f.Path)
	if target, err := filepath.EvalSymlinks(p); err == nil && hasSize(target, f.Size) {
		// A pointer to another blob is a pointer of another commit's content, whatever its size.
		if base := filepath.Base(target); base == f.ETag() || !(sha256Name.MatchString(base) || commitName.MatchString(base)) {
			return target, true
		}
	}
	if b := c.blob(repo, f.ETag()); hasSize(b, f.Size) {
		return b, false
	}
	return "", false
}

// hasSize follows links. It is the cheap half of the check; believe is the other.
func hasSize(path string, size int64) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}

// readRef gives the commit of a branch or tag as the last download left it.
func (c *cache) readRef(repo, revision string) string {
	for _, p := range []string{
		filepath.Join(c.folder(repo), "refs", filepath.FromSlash(revision)),
		c.own(repo, "refs", filepath.FromSlash(revision)),
	} {
		data, err := readBounded(p, 64)
		if s := strings.TrimSpace(string(data)); err == nil && commitName.MatchString(s) {
			return s
		}
	}
	return ""
}

// writeRef makes revision mean commit. The snapshot folder comes first: a ref without it makes Python's scan call the
// whole repo corrupted.
func (c *cache) writeRef(repo, revision, commit string) error {
	if revision == commit {
		return nil
	}
	if err := os.MkdirAll(c.snapshot(repo, commit), 0o777); err != nil {
		return cacheError(err)
	}
	p := filepath.Join(c.folder(repo), "refs", filepath.FromSlash(revision))
	if data, err := readBounded(p, 64); err == nil && string(data) == commit {
		return nil
	}
	return c.replace(p, []byte(commit))
}

// point makes the pointer of f lead to its blob. Where links cannot be made it becomes a copy.
func (c *cache) point(repo, commit string, f File) error {
	name, blob := c.pointer(repo, commit, f.Path), c.blob(repo, f.ETag())
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		return cacheError(err)
	}
	target, err := filepath.Rel(filepath.Dir(name), blob)
	if err != nil {
		return cacheError(err)
	}
	if err := c.symlink(target, name); err == nil {
		return nil
	}
	return cacheError(copyFile(blob, name))
}

// copyFile stands in for a link: whole or not at all, like everything with a final name.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := renameio.NewPendingFile(to, renameio.WithTempDir(filepath.Dir(to)), renameio.WithPermissions(0o666))
	if err != nil {
		return err
	}
	defer out.Cleanup()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.CloseAtomicallyReplace()
}

// replace writes a small file of the cache, whole or not at all.
func (c *cache) replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return cacheError(err)
	}
	return cacheError(renameio.WriteFile(path, data, 0o666, renameio.WithTempDir(dir)))
}

// saveListing keeps what the Hub said, so that a commit is asked for once: a commit's listing never changes.
func (c *cache) saveListing(r *Revision) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	// The snapshot folder keeps Python's scan from stumbling over a repo of which only headers were read.
	if err := os.MkdirAll(c.snapshot(r.Repo, r.Commit), 0o777); err != nil {
		return cacheError(err)
	}
	if r.Name != r.Commit {
		if err := c.replace(c.own(r.Repo, "refs", filepath.FromSlash(r.Name)), []byte(r.Commit)); err != nil {
			return err
		}
	}
	return c.replace(c.own(r.Repo, "listings", r.Commit+".json"), data)
}

// loadListing is nil unless the Hub's own listing of commit was kept.
func (c *cache) loadListing(repo, commit string) *Revision {
	data, err := readBounded(c.own(repo, "listings", commit+".json"), maxListing)
	if err != nil {
		return nil
	}
	var r Revision
	if json.Unmarshal(data, &r) != nil || r.Commit != commit || r.Repo != repo || CheckRepo(r.Canonical) != nil || checkFiles(r.Files) != nil {
		return nil
	}
	r.complete = true
	return &r
}

// offline resolves from the cache alone.
func (c *cache) offline(repo, revision string) (*Revision, error) {
	on := subject{repo: repo, revision: revision}
	commit := revision
	if !commitName.MatchString(commit) {
		if commit = c.readRef(repo, revision); commit == "" {
			return nil, offlineError(on, "the cache does not know this revision and the network is not to be used")
		}
	}
	if r := c.loadListing(repo, commit); r != nil {
		r.Name = revision
		return r, nil
	}
	r := &Revision{Repo: repo, Canonical: repo, Name: revision, Commit: commit}
	root := c.snapshot(repo, commit)
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := describe(root, p)
		if err == nil {
			r.Files = append(r.Files, f)
		}
		return err
	})
	if err == nil {
		err = checkFiles(r.Files)
	}
	if err != nil || len(r.Files) == 0 {
		return nil, offlineError(on, "the cache does not hold commit "+commit[:12]+" and the network is not to be used")
	}
	return r, nil
}

// describe takes a file's digest from the name of the blob that its pointer leads to; where there are copies
// instead of links, the data tells.
func describe(root, p string) (File, error) {
	rel, err := filepath.Rel(root, p)
	if err != nil {
		return File{}, err
	}
	target, err := filepath.EvalSymlinks(p)
	if err != nil {
		return File{}, err
	}
	info, err := os.Stat(target)
	if err != nil {
		return File{}, err
	}
	f := File{Path: filepath.ToSlash(rel), Size: info.Size()}
	switch base := filepath.Base(target); {
	case sha256Name.MatchString(base):
		f.SHA256 = base
	case commitName.MatchString(base):
		f.GitSHA1 = base
	default:
		f.GitSHA1, err = gitSHA1(target, info.Size())
	}
	return f, err
}

// readBounded refuses a file of more than limit bytes instead of cutting it.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s: more than %d bytes", path, limit)
	}
	return data, err
}

// cacheError sorts what the file system says into a full disk and everything else.
func cacheError(err error) error {
	var ours *Error
	switch {
	case err == nil || errors.As(err, &ours):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &Error{Kind: ErrNoSpace, Says: "the disk of the cache is full", Err: err,
			Next: "make room, or set HF_HUB_CACHE to a folder on a larger disk; what is proven is kept"}
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return &Error{Kind: ErrCache, Says: "the cache cannot be written", Err: err,
			Next: "set HF_HUB_CACHE to a folder that you may write"}
	}
	return &Error{Kind: ErrCache, Says: "the cache fails", Err: err, Next: "look at the disk of HF_HUB_CACHE"}
}
