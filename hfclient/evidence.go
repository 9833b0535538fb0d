package hfclient

import (
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"sort"
)

// Level is how far the bytes that were read of a file are proven.
type Level string

// The levels.
const (
	ByDigest Level = "digest"          // all bytes, against the digest that the listing promises
	ByLength Level = "length and etag" // ranges of the promised file, each of the exact length that was asked for
)

// Evidence is what a receipt says of one source file.
type Evidence struct {
	File  File
	Read  int64 // bytes that came over the network, the head of the file included; 0: from the cache
	Level Level
}

// Evidence tells, by path, how every file of weights that was opened so far is proven: the level is ByDigest if all
// its bytes came in their order, or lie in the cache with a digest that was computed before.
func (s *FS) Evidence() []Evidence {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []Evidence
	for _, r := range s.remote {
		r.mu.Lock()
		e := Evidence{File: r.file, Read: r.read + int64(len(r.head)), Level: ByLength}
		if r.sound {
			e.Level = ByDigest
		}
		r.mu.Unlock()
		all = append(all, e)
	}
	for _, f := range s.local {
		e := Evidence{File: f, Level: ByLength}
		if on, _ := s.c.cache.where(s.rev.Repo, s.rev.Commit, f); on != "" && s.c.cache.proven(s.rev.Repo, f, on) {
			e.Level = ByDigest
		}
		all = append(all, e)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].File.Path < all[j].File.Path })
	return all
}

// Stream reads a file from its beginning to its end and proves it on the way: a wrong digest is an error in place of
// io.EOF. Nothing is kept on disk.
func (s *FS) Stream(name string) (io.ReadCloser, error) {
	opened, err := s.Open(name)
	if err != nil {
		return nil, err
	}
	f, err := s.rev.File(name)
	if err != nil {
		return nil, err
	}
	return &verified{ReadCloser: opened, on: s.rev.Repo + "/" + name, file: f, hash: newHash(f)}, nil
}

// verified is a reader that cannot be drained without its digest being right.
type verified struct {
	io.ReadCloser
	on   string
	file File
	hash hash.Hash
	got  int64
}

// Read implements io.Reader.
func (v *verified) Read(p []byte) (int, error) {
	n, err := v.ReadCloser.Read(p)
	v.hash.Write(p[:n])
	if v.got += int64(n); v.got > v.file.Size {
		return n, v.broken(fmt.Sprintf("more than the %d bytes that the listing promises", v.file.Size))
	}
	if err != io.EOF {
		return n, err
	}
	if v.got < v.file.Size {
		return n, v.broken(fmt.Sprintf("%d bytes, the listing promises %d", v.got, v.file.Size))
	}
	if sum := hex.EncodeToString(v.hash.Sum(nil)); sum != v.file.ETag() {
		return n, v.broken((&digestError{want: v.file.ETag(), got: sum}).Error())
	}
	return n, io.EOF
}

// broken blames the way, not the repo: the listing and the data came by different hosts.
func (v *verified) broken(says string) error {
	return &Error{Kind: ErrIntegrity, On: v.on, Says: says, Next: "try another network or mirror, and do not trust this one"}
}
