package hfclient

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"os"
)

// newHash is the function that f's digest promises, fed with what comes before the data.
func newHash(f File) hash.Hash {
	if f.SHA256 != "" {
		return sha256.New()
	}
	return newGitHash(f.Size)
}

// newGitHash is how git names a blob, which is what the Hub promises of a small file.
func newGitHash(size int64) hash.Hash {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", size)
	return h
}

// gitSHA1 reads the whole file; large files have a SHA-256 instead.
func gitSHA1(path string, size int64) (string, error) { return sum(path, newGitHash(size), nil) }

// sum hashes a file; step, if given, hears of each piece and may end it.
func sum(path string, h hash.Hash, step func(n int) error) (string, error) {
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer in.Close()
	buf := make([]byte, bufferSize)
	for {
		n, err := in.Read(buf)
		h.Write(buf[:n])
		if step != nil && n > 0 {
			if err := step(n); err != nil {
				return "", err
			}
		}
		if err == io.EOF {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", err
		}
	}
}

// proof says of which file, seen by size and time, a digest was computed. Python's client compares sizes only, so a
// blob of its making is hashed once before we believe it.
type proof struct {
	Size  int64 `json:"size"`
	MTime int64 `json:"mtime_ns"`
}

// proven reports whether the blob at path was hashed by us and has not changed since.
func (c *cache) proven(repo string, f File, path string) bool {
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	data, err := readBounded(c.own(repo, "proofs", f.ETag()), 4096)
	var p proof
	return err == nil && json.Unmarshal(data, &p) == nil && p == proof{info.Size(), info.ModTime().UnixNano()}
}

// prove looks at the file after it got its name: a rename keeps its time.
func (c *cache) prove(repo string, f File, path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return cacheError(err)
	}
	data, err := json.Marshal(proof{info.Size(), info.ModTime().UnixNano()})
	if err != nil {
		return err
	}
	return c.replace(c.own(repo, "proofs", f.ETag()), data)
}
