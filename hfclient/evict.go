package hfclient

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Cached names files of a commit in the cache.
type Cached struct {
	Repo, Commit string
	Files        []string // paths as the repository has them
}

// Evict takes files out of the cache: their pointers, and each blob that no pointer of another commit leads to. A snapshot that
// is empty then goes, with the refs that name it, since a ref without its snapshot makes Python's client call the cache corrupted.
func (c *Client) Evict(what Cached) error {
	if !commitName.MatchString(what.Commit) || CheckRepo(what.Repo) != nil {
		return &Error{Kind: ErrInvalid, On: what.Repo, Says: "is no commit of a repository"}
	}
	for _, path := range what.Files {
		if err := cleanName(path); err != nil {
			return err
		}
		if err := c.cache.evict(what.Repo, what.Commit, path); err != nil {
			return cacheError(err)
		}
	}
	return cacheError(c.cache.prune(what.Repo, what.Commit))
}

func (c *cache) evict(repo, commit, path string) error {
	pointer := c.pointer(repo, commit, path)
	target, err := filepath.EvalSymlinks(pointer)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.Remove(pointer); err != nil {
		return err
	}
	for dir := filepath.Dir(pointer); dir != c.snapshot(repo, commit) && os.Remove(dir) == nil; dir = filepath.Dir(dir) {
	}
	blobs, err := filepath.EvalSymlinks(filepath.Join(c.folder(repo), "blobs"))
	if err != nil || filepath.Dir(target) != blobs {
		return nil // a copy, where there are no links: it went with the pointer
	}
	used, err := c.pointed(repo, target)
	if err != nil || used {
		return err
	}
	return os.Remove(target)
}

// pointed tells whether any snapshot of the repository leads to the blob.
func (c *cache) pointed(repo, blob string) (bool, error) {
	used := false
	err := filepath.WalkDir(filepath.Join(c.folder(repo), "snapshots"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if t, err := filepath.EvalSymlinks(p); err == nil && t == blob {
			used = true
			return filepath.SkipAll
		}
		return nil
	})
	return used, err
}

// prune removes an empty snapshot after the refs to it.
func (c *cache) prune(repo, commit string) error {
	dir := c.snapshot(repo, commit)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) > 0 {
		return nil
	}
	if err != nil {
		return err
	}
	err = filepath.WalkDir(filepath.Join(c.folder(repo), "refs"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := readBounded(p, 1<<10)
		if err == nil && strings.TrimSpace(string(b)) == commit {
			err = os.Remove(p)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Remove(dir)
}
