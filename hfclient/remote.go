package hfclient

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"sort"
	"sync"
)

const (
	maxHeader = 100_000_000 // bytes of a safetensors header, the format's own bound
	maxSkip   = 128 << 20   // bytes that are read and dropped to reach a place on a server without ranges
)

// remoteFile is a file of weights that the cache does not hold. Its bytes are fetched in blocks that never straddle
// two tensors, so that reading every tensor once fetches every byte once. The digest is computed as far as blocks
// come in the order of the file; it is complete only if all of them do.
type remoteFile struct {
	fs   *FS
	file File
	src  *source

	headMu sync.Mutex
	looked bool    // head is what there is
	head   []byte  // of a safetensors file: length and header
	starts []int64 // where blocks may begin: tensors' first bytes, ascending, from 0

	mu     sync.Mutex
	blocks map[int64]*block // by first byte
	read   int64            // bytes fetched besides the head
	hash   hash.Hash
	hashed int64
	sound  bool // the digest is complete and right
}

// newRemoteFile asks for nothing yet.
func newRemoteFile(s *FS, f File) *remoteFile {
	return &remoteFile{fs: s, file: f, src: s.c.source(s.rev, f), blocks: map[int64]*block{}, hash: newHash(f)}
}

// header gives length and header of a safetensors file: from the cache, or by two ranges that hold no weights. It
// is nil for other formats and for a file that is not what its name says; the reader of the format will say so.
func (r *remoteFile) header(ctx context.Context) ([]byte, error) {
	r.headMu.Lock()
	defer r.headMu.Unlock()
	if r.looked || path.Ext(r.file.Path) != ".safetensors" || r.file.Size < 8 {
		return r.head, nil
	}
	kept := r.fs.c.cache.own(r.fs.rev.Repo, "headers", r.file.ETag())
	if data, err := readBounded(kept, maxHeader+8); err == nil && len(data) >= 8 && headEnd(data, r.file.Size) == int64(len(data)) {
		r.setHead(data)
		return r.head, nil
	}
	data := make([]byte, 8)
	if err := r.fill(ctx, data, 0); err != nil {
		return nil, err
	}
	end := headEnd(data, r.file.Size)
	if end == 0 {
		r.looked = true
		return nil, nil
	}
	data = append(data, make([]byte, end-8)...)
	if err := r.fill(ctx, data[8:], 8); err != nil {
		return nil, err
	}
	if err := r.fs.c.cache.replace(kept, data); err != nil {
		r.fs.c.o.Logger.Debug("header not kept", "file", r.src.on().String(), "error", err)
	}
	r.setHead(data)
	return r.head, nil
}

// headEnd is where the header ends by its first 8 bytes, or 0 if that cannot be.
func headEnd(data []byte, size int64) int64 {
	n := binary.LittleEndian.Uint64(data)
	if n > maxHeader || int64(n) > size-8 {
		return 0
	}
	return 8 + int64(n)
}

// setHead also learns where tensors begin. A header that cannot be read has no tensors here; its reader refuses it.
func (r *remoteFile) setHead(data []byte) {
	r.head, r.looked = data, true
	var tensors map[string]json.RawMessage
	_ = json.Unmarshal(data[8:], &tensors)
	r.starts = []int64{int64(len(data))}
	for name, raw := range tensors {
		var t struct {
			DataOffsets [2]int64 `json:"data_offsets"`
		}
		if name == "__metadata__" || json.Unmarshal(raw, &t) != nil {
			continue
		}
		for _, at := range t.DataOffsets {
			if at > 0 && at < r.file.Size-int64(len(data)) {
				r.starts = append(r.starts, at+int64(len(data)))
			}
		}
	}
	sort.Slice(r.starts, func(i, j int) bool { return r.starts[i] < r.starts[j] })
	r.mu.Lock()
	if r.hashed == 0 {
		r.hash.Write(data)
		r.hashed = int64(len(data))
	}
	r.mu.Unlock()
}

// span is the block that holds byte off.
func (r *remoteFile) span(off int64) (lo, hi int64) {
	i := sort.Search(len(r.starts), func(i int) bool { return r.starts[i] > off })
	var start int64
	end := r.file.Size
	if i > 0 {
		start = r.starts[i-1]
	}
	if i < len(r.starts) {
		end = r.starts[i]
	}
	lo = start + (off-start)/blockSize*blockSize
	return lo, min(lo+blockSize, end)
}

// readAt fills p from off; all of it lies in the file.
func (r *remoteFile) readAt(ctx context.Context, p []byte, off int64) error {
	head, err := r.header(ctx)
	if err != nil {
		return err
	}
	for len(p) > 0 {
		n := 0
		if off < int64(len(head)) {
			n = copy(p, head[off:])
		} else {
			lo, hi := r.span(off)
			b, err := r.block(ctx, lo, hi)
			if err != nil {
				return err
			}
			n = copy(p, b.data[off-lo:])
			r.fs.budget.release(b, int64(n))
			r.ahead(lo, hi)
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// fill fetches exactly len(dst) bytes from off, again from where a body broke off.
func (r *remoteFile) fill(ctx context.Context, dst []byte, off int64) error {
	c := r.fs.c
	if err := c.conns.Acquire(ctx, 1); err != nil {
		return err
	}
	defer c.conns.Release(1)
	d := &download{c: c, rev: r.fs.rev, file: r.file}
	done := 0
	for try := 1; done < len(dst); try++ {
		n, broke, err := r.fillOnce(ctx, dst[done:], off+int64(done))
		r.fs.fetched.Add(int64(n))
		if err != nil {
			return err
		}
		if done += n; done == len(dst) {
			break
		}
		if n >= worthwhile {
			try = 0
		}
		if err := d.again(ctx, try, int64(n), broke); err != nil {
			return err
		}
	}
	return nil
}

// fillOnce tells apart, as copyBody does, what ended the body from what no repetition mends.
func (r *remoteFile) fillOnce(ctx context.Context, dst []byte, off int64) (n int, broke, err error) {
	body, err := r.src.ranged(ctx, off, off+int64(len(dst)))
	if errors.Is(err, errNoRanges) {
		body, err = r.skip(ctx, off, err)
	}
	if err != nil {
		return 0, nil, err
	}
	defer body.Close()
	for n < len(dst) {
		m, rerr := body.Read(r.fs.c.limit.chunk(dst[n:]))
		n += m
		if err := r.fs.c.limit.wait(ctx, m); err != nil {
			return n, nil, err
		}
		if rerr != nil {
			if rerr == io.EOF {
				rerr = io.ErrUnexpectedEOF
			}
			return n, rerr, nil
		}
	}
	return n, nil, nil
}

// skip reads a server without ranges from the beginning. Far into a file that would fetch it many times over.
func (r *remoteFile) skip(ctx context.Context, off int64, why error) (io.ReadCloser, error) {
	if off > maxSkip {
		return nil, &Error{Kind: ErrUnavailable, On: r.src.on().String(), Says: "this server cannot give a part of a file", Err: why,
			Next: "pull the repo first, or use another HF_ENDPOINT"}
	}
	body, closer, err := r.src.whole(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, body, off); err != nil {
		_ = closer.Close()
		return nil, r.fs.c.networkError(ctx, r.src.on(), r.fs.c.endpoint, err)
	}
	return struct {
		io.Reader
		io.Closer
	}{body, closer}, nil
}

// account counts a block that has come and carries the digest forward over it and over those that came before
// their turn. It fails if the digest of the whole is wrong. r.mu is held.
func (r *remoteFile) account(b *block) error {
	r.read += b.size
	if b.lo == r.hashed {
		r.advance(b)
		for r.hashed < r.file.Size {
			lo, _ := r.span(r.hashed)
			next := r.blocks[lo]
			if next == nil || !next.whole() || !r.fs.budget.acquire(next) {
				break
			}
			r.advance(next)
			r.fs.budget.release(next, 0)
		}
	}
	if r.hashed < r.file.Size || r.sound {
		return nil
	}
	if got := hex.EncodeToString(r.hash.Sum(nil)); got != r.file.ETag() {
		return r.src.broken("digest %s, promised %s", got, r.file.ETag())
	}
	r.sound = true
	return nil
}

// advance passes the digest over a block that its user keeps from being dropped.
func (r *remoteFile) advance(b *block) {
	r.hash.Write(b.data)
	r.hashed += b.size
}

// remoteHandle is an open remoteFile with a position.
type remoteHandle struct {
	*remoteFile
	at int64
}

// Stat implements fs.File.
func (h *remoteHandle) Stat() (fs.FileInfo, error) {
	return info{name: path.Base(h.file.Path), size: h.file.Size}, nil
}

// Close implements fs.File.
func (h *remoteHandle) Close() error { return nil }

// Read implements fs.File.
func (h *remoteHandle) Read(p []byte) (int, error) {
	n, err := h.ReadAt(p, h.at)
	h.at += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

// Seek implements io.Seeker.
func (h *remoteHandle) Seek(off int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		off += h.at
	case io.SeekEnd:
		off += h.file.Size
	}
	if off < 0 {
		return 0, &fs.PathError{Op: "seek", Path: h.file.Path, Err: fs.ErrInvalid}
	}
	h.at = off
	return off, nil
}

// ReadAt implements io.ReaderAt.
func (h *remoteHandle) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: h.file.Path, Err: fmt.Errorf("offset %d", off)}
	}
	if off >= h.file.Size {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), h.file.Size-off))
	if err := h.readAt(h.fs.ctx, p[:n], off); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
