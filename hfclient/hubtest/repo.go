package hubtest

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"sort"
	"strings"
	"sync"
)

// Repo is one repo of a Hub. Its exported fields may be set before the first request.
type Repo struct {
	ID       string
	Gated    bool            // files need a token of Granted; card and listing do not
	Private  bool            // everything needs a token of Granted
	Disabled bool            // nobody gets anything
	Granted  map[string]bool // tokens with access
	NoBlobs  bool            // the listing has no sizes and digests, as some mirrors answer
	NoList   bool            // the listing is empty, as for very large repos: only the tree tells

	mu      sync.RWMutex
	refs    map[string]string // branches and tags -> commit
	tags    map[string]bool
	commits map[string]*commit
}

type commit struct {
	sha   string
	files []*file // by path
}

// file is one file of a commit. Data may be replaced by a generator for large ones.
type file struct {
	path   string
	size   int64
	lfs    bool
	digest string // sha256 if lfs, else git sha1
	open   func() io.ReadSeeker
	listed int64 // the size that the listing tells
}

// Add makes a repo with one commit on main from a folder. Files that end like weights, or are larger than 1 MiB, are
// in large storage.
func (h *Hub) Add(id string, from fs.FS) *Repo {
	r := &Repo{ID: id, Granted: map[string]bool{}, refs: map[string]string{}, tags: map[string]bool{}, commits: map[string]*commit{}}
	h.mu.Lock()
	h.repos[id] = r
	h.mu.Unlock()
	r.Branch("main", from)
	return r
}

// Rename makes requests for the old id lead to the new one.
func (h *Hub) Rename(old, id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.renamed[old] = id
}

// Branch adds a commit and lets the branch point to it. It gives the commit. A folder that cannot be read is a
// mistake of the test, and panics.
func (r *Repo) Branch(name string, from fs.FS) string {
	c := &commit{}
	err := fs.WalkDir(from, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(from, p)
		if err == nil {
			c.files = append(c.files, newFile(p, data))
		}
		return err
	})
	if err != nil {
		panic("hubtest: " + err.Error())
	}
	return r.commit(name, c)
}

// Tag names a commit that a branch points to.
func (r *Repo) Tag(name, branch string) {
	r.refs[name], r.tags[name] = r.refs[branch], true
}

// Commit is what a branch or tag points to.
func (r *Repo) Commit(ref string) string { return r.refs[ref] }

// Put adds a file with any name, however hostile, to the commit of main, which keeps its name.
func (r *Repo) Put(name string, data []byte) {
	c := r.commits[r.refs["main"]]
	c.files = append(c.files, newFile(name, data))
	c.sort()
}

// PutNoise adds a large file of size pseudo-random bytes that is made anew for each request, and gives its SHA-256.
func (r *Repo) PutNoise(name string, size int64, seed uint64) string {
	f := &file{path: name, size: size, listed: size, lfs: true, open: func() io.ReadSeeker { return &noise{size: size, seed: seed} }}
	h := sha256.New()
	if _, err := io.Copy(h, f.open()); err != nil {
		panic("hubtest: " + err.Error())
	}
	f.digest = hex.EncodeToString(h.Sum(nil))
	c := r.commits[r.refs["main"]]
	c.files = append(c.files, f)
	c.sort()
	return f.digest
}

// Lie makes the listing of main promise another size or digest for a file; a zero value leaves it.
func (r *Repo) Lie(name string, size int64, digest string) {
	for _, f := range r.commits[r.refs["main"]].files {
		if f.path == name {
			if size != 0 {
				f.listed = size
			}
			if digest != "" {
				f.digest = digest
			}
		}
	}
}

// commit names a commit by what it holds, so that runs can be compared.
func (r *Repo) commit(branch string, c *commit) string {
	c.sort()
	h := sha1.New()
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(h, r.ID, len(r.commits))
	for _, f := range c.files {
		fmt.Fprintln(h, f.path, f.digest)
	}
	c.sha = hex.EncodeToString(h.Sum(nil))
	r.commits[c.sha] = c
	r.refs[branch] = c.sha
	return c.sha
}

// sort is stable: of two files with one name, as a hostile listing has them, both stay.
func (c *commit) sort() {
	sort.SliceStable(c.files, func(i, j int) bool { return c.files[i].path < c.files[j].path })
}

// large follows the Hub: its large storage is for what ends like weights or is larger than git should hold.
func large(name string, size int64) bool {
	switch path.Ext(name) {
	case ".safetensors", ".bin", ".gguf", ".pth", ".onnx":
		return true
	}
	return size > 1<<20
}

// newFile stores a file where large wants it.
func newFile(name string, data []byte) *file {
	f := &file{path: name, size: int64(len(data)), listed: int64(len(data)), open: func() io.ReadSeeker { return bytes.NewReader(data) }}
	if f.lfs = large(name, f.size); f.lfs {
		sum := sha256.Sum256(data)
		f.digest = hex.EncodeToString(sum[:])
		return f
	}
	f.digest = blobID(data)
	return f
}

// blobID is the name that git gives to the data.
func blobID(data []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", len(data))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

// noise is a seekable stream of pseudo-random bytes: a block repeated under a running mask.
type noise struct {
	size, at int64
	seed     uint64
	block    []byte
}

const noiseBlock = 1 << 16

// Read implements io.Reader.
func (n *noise) Read(p []byte) (int, error) {
	if n.at >= n.size {
		return 0, io.EOF
	}
	if n.block == nil {
		n.block = make([]byte, noiseBlock)
		g := rand.NewChaCha8([32]byte{byte(n.seed), byte(n.seed >> 8), byte(n.seed >> 16), 1})
		_, _ = g.Read(n.block)
	}
	k := n.at % noiseBlock
	m := copy(p[:min(int64(len(p)), n.size-n.at)], n.block[k:])
	if k == 0 && m >= 8 { // the block's number, so that no two blocks are alike
		for i := range 8 {
			p[i] ^= byte(n.at / noiseBlock >> (8 * i))
		}
	} else if k < 8 {
		for i := k; i < min(8, k+int64(m)); i++ {
			p[i-k] ^= byte(n.at / noiseBlock >> (8 * i))
		}
	}
	n.at += int64(m)
	return m, nil
}

// Seek implements io.Seeker.
func (n *noise) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
		n.at = off
	case io.SeekCurrent:
		n.at += off
	case io.SeekEnd:
		n.at = n.size + off
	}
	return n.at, nil
}

// escape keeps slashes: storage addresses hold the path as folders.
func escape(p string) string {
	return strings.NewReplacer("%", "%25", "?", "%3F", "#", "%23", " ", "%20").Replace(p)
}
