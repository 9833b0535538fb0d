package hfclient

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// Local is a repo of a cache that never was on the Hub: programs that read the Hub's cache find its files under its name. Its blobs
// are put there by the caller; Point then makes them a commit.
type Local struct {
	Root  string // the folder that holds models--org--name
	Repo  string
	Files []File // with SHA256
}

// made marks a repo as ours: one that a download made is never changed.
const made = "local"

// Dir is the repo's folder.
func (l Local) Dir() string { return newCache(l.Root).folder(l.Repo) }

// Blob is where the bytes with this digest belong.
func (l Local) Blob(digest string) string { return newCache(l.Root).blob(l.Repo, digest) }

// Commit names what the repo holds, as a commit is named: 40 hexadecimal digits.
func (l Local) Commit() string {
	h := sha1.New()
	for _, f := range l.Files {
		fmt.Fprintf(h, "%s %s\n", f.SHA256, f.Path)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Check refuses a name under which something else is in the cache.
func (l Local) Check() error {
	c := newCache(l.Root)
	if err := CheckRepo(l.Repo); err != nil {
		return err
	}
	if err := checkFiles(l.Files); err != nil {
		return err
	}
	_, err := os.Stat(c.folder(l.Repo))
	if _, merr := os.Stat(c.own(l.Repo, made)); err == nil && merr != nil && c.readRef(l.Repo, "main") != "" {
		return &Error{Kind: ErrInvalid, On: l.Repo, Says: "the cache holds a download under this name", Next: "choose another name"}
	}
	return nil
}

// Point makes the files the repo's only commit, under main, and takes away what an earlier one had besides.
func (l Local) Point() error {
	c, commit := newCache(l.Root), l.Commit()
	if err := c.replace(c.own(l.Repo, made), []byte("made on this machine\n")); err != nil {
		return err
	}
	for _, f := range l.Files {
		if err := c.point(l.Repo, commit, f); err != nil {
			return err
		}
	}
	old := c.readRef(l.Repo, "main")
	if err := c.writeRef(l.Repo, "main", commit); err != nil || old == "" || old == commit {
		return err
	}
	files, err := filepath.Glob(filepath.Join(c.snapshot(l.Repo, old), "*"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := c.evict(l.Repo, old, filepath.Base(f)); err != nil {
			return cacheError(err)
		}
	}
	return cacheError(c.prune(l.Repo, old))
}
