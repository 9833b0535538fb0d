package hfclient

import (
	"encoding"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"sync"
)

const (
	bufferSize  = 256 << 10 // one per connection, reused
	recordEvery = 4 << 20   // bytes that may be unrecorded at most, as far as the disk keeps up
	recordShare = 25        // and at most this part of a file, so that a kill loses less than a tenth
	sidecarKind = 1         // version of the progress file
	maxSidecar  = 4 << 20
	maxSegments = 1 << 20
)

// partial is a blob on its way. Segments arrive in any order; each is filled from its start. The digest follows
// behind the part that is whole from the beginning, mostly from the buffers that are being written.
//
// Invariants: what the progress file calls done was written and synced before; the hash state in it covers no more
// than that. Neither the data nor the progress file ever has a final name.
type partial struct {
	c    *cache
	f    *os.File
	path string // of the data; the progress file lies beside it
	file File
	url  string // the Hub's address, for the progress file
	seg  int64

	mu      sync.Mutex
	done    []int64 // bytes of each segment that are in the file
	total   int64   // their sum
	pending int64   // bytes written since the last record
	failed  error   // the first failure of the recorder or the hasher

	hashMu sync.Mutex
	hash   hash.Hash
	hashed int64

	hashWake, keepWake chan struct{}
	stop               chan struct{}
	workers            sync.WaitGroup
}

// sidecar is the progress file.
type sidecar struct {
	Kind    int     `json:"kind"`
	URL     string  `json:"url"` // the Hub's address, never the signed one
	ETag    string  `json:"etag"`
	Size    int64   `json:"size"`
	Segment int64   `json:"segment"`
	Done    []int64 `json:"done"`
	Hashed  int64   `json:"hashed"`
	State   string  `json:"state"` // of the hash after Hashed bytes
}

// partialPath is not <etag>.incomplete: Python's client appends to a file of that name.
func partialPath(blob string) string { return blob + ".quern.incomplete" }

// progressPath lies beside the data, so that both are on one disk and go together.
func progressPath(blob string) string { return blob + ".quern.progress" }

// openPartial continues a partial blob or begins one. The lock of the blob is held.
func (c *cache) openPartial(repo string, f File, url string, segment int64) (*partial, error) {
	blob := c.blob(repo, f.ETag())
	if err := os.MkdirAll(filepath.Dir(blob), 0o777); err != nil {
		return nil, cacheError(err)
	}
	out, err := os.OpenFile(partialPath(blob), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, cacheError(err)
	}
	p := &partial{
		c: c, f: out, path: blob, file: f, url: url, seg: segment, hash: newHash(f),
		hashWake: make(chan struct{}, 1), keepWake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	if !p.load() {
		p.done = make([]int64, max(1, (f.Size+segment-1)/segment))
		err = out.Truncate(0)
	}
	if err == nil {
		err = out.Truncate(f.Size)
	}
	if err != nil {
		_ = out.Close()
		return nil, cacheError(err)
	}
	p.workers.Add(2)
	go p.follow()
	go p.keep()
	return p, nil
}

// recorded is the number of bytes that an earlier run left of f.
func (c *cache) recorded(repo string, f File) int64 {
	blob := c.blob(repo, f.ETag())
	s, ok := readSidecar(blob, f)
	if !ok || !hasSize(partialPath(blob), f.Size) {
		return 0
	}
	var n int64
	for _, d := range s.Done {
		n += d
	}
	return n
}

// readSidecar gives a progress file only if every number in it can be true.
func readSidecar(blob string, f File) (sidecar, bool) {
	var s sidecar
	data, err := readBounded(progressPath(blob), maxSidecar)
	if err != nil || json.Unmarshal(data, &s) != nil {
		return s, false
	}
	if s.Kind != sidecarKind || s.ETag != f.ETag() || s.Size != f.Size || s.Segment <= 0 {
		return s, false
	}
	if n := max(1, (f.Size+s.Segment-1)/s.Segment); n > maxSegments || int64(len(s.Done)) != n {
		return s, false
	}
	for i, d := range s.Done {
		if d < 0 || d > min(s.Segment, f.Size-int64(i)*s.Segment) {
			return s, false
		}
	}
	return s, s.Hashed >= 0 && s.Hashed <= frontier(s.Done, s.Segment, s.Size)
}

// load takes up an earlier run's work.
func (p *partial) load() bool {
	s, ok := readSidecar(p.path, p.file)
	if !ok || !hasSize(partialPath(p.path), p.file.Size) {
		return false
	}
	p.seg, p.done = s.Segment, s.Done
	for _, d := range s.Done {
		p.total += d
	}
	state, err := base64.StdEncoding.DecodeString(s.State)
	if h, can := p.hash.(encoding.BinaryUnmarshaler); err == nil && can && h.UnmarshalBinary(state) == nil {
		p.hashed = s.Hashed
	} else {
		p.hash = newHash(p.file) // another release of Go: the data is read again
	}
	wake(p.hashWake)
	return true
}

// wake never waits: a worker that is awake looks at everything there is.
func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// frontier is the length of what is whole from the beginning.
func frontier(done []int64, seg, size int64) int64 {
	for i, d := range done {
		if lo := int64(i) * seg; lo+d < min(lo+seg, size) {
			return lo + d
		}
	}
	return size
}

// missing is what is left of segment i: [lo, hi).
func (p *partial) missing(i int) (lo, hi int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	start := int64(i) * p.seg
	return start + p.done[i], min(start+p.seg, p.file.Size)
}

// has is the number of bytes in the file.
func (p *partial) has() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.total
}

// write adds data at off, where its segment ends so far. It must not reach past the segment.
func (p *partial) write(data []byte, off int64) error {
	if _, err := p.c.write(p.f, data, off); err != nil {
		return cacheError(err)
	}
	p.mu.Lock()
	p.done[off/p.seg] += int64(len(data))
	p.total += int64(len(data))
	p.pending += int64(len(data))
	due := p.total < p.file.Size && p.pending >= min(recordEvery, p.file.Size/recordShare)
	failed := p.failed
	p.mu.Unlock()
	if p.hashMu.TryLock() {
		if p.hashed == off {
			p.hash.Write(data)
			p.hashed += int64(len(data))
		}
		p.hashMu.Unlock()
	}
	wake(p.hashWake)
	if due {
		wake(p.keepWake)
	}
	return failed
}

// follow reads back what arrived ahead of its turn as soon as it is its turn.
func (p *partial) follow() {
	defer p.workers.Done()
	buf := make([]byte, bufferSize)
	for {
		select {
		case <-p.stop:
			return
		case <-p.hashWake:
		}
		if err := p.catchUp(buf); err != nil {
			p.fail(err)
			return
		}
	}
}

// catchUp hashes up to the frontier. The lock is let go between pieces, so that a writer at the frontier can take over
// and hash from its buffer.
func (p *partial) catchUp(buf []byte) error {
	for {
		p.mu.Lock()
		end := frontier(p.done, p.seg, p.file.Size)
		p.mu.Unlock()
		p.hashMu.Lock()
		n := min(int64(len(buf)), end-p.hashed)
		if n <= 0 {
			p.hashMu.Unlock()
			return nil
		}
		_, err := p.f.ReadAt(buf[:n], p.hashed)
		if err == nil {
			p.hash.Write(buf[:n])
			p.hashed += n
		}
		p.hashMu.Unlock()
		if err != nil {
			return cacheError(err)
		}
	}
}

// keep records progress beside the writers, who never wait for the disk's sync.
func (p *partial) keep() {
	defer p.workers.Done()
	for {
		select {
		case <-p.stop:
			return
		case <-p.keepWake:
		}
		if err := p.record(); err != nil {
			p.fail(err)
			return
		}
	}
}

// fail keeps the first failure: the next write returns it and so ends the download.
func (p *partial) fail(err error) {
	p.mu.Lock()
	if p.failed == nil {
		p.failed = err
	}
	p.mu.Unlock()
}

// record syncs the data, then says what it holds.
func (p *partial) record() error {
	p.hashMu.Lock()
	s := sidecar{Kind: sidecarKind, URL: p.url, ETag: p.file.ETag(), Size: p.file.Size, Segment: p.seg, Hashed: p.hashed}
	if h, ok := p.hash.(encoding.BinaryMarshaler); ok {
		state, err := h.MarshalBinary()
		if err != nil {
			s.Hashed = 0
		}
		s.State = base64.StdEncoding.EncodeToString(state)
	}
	p.hashMu.Unlock()
	p.mu.Lock()
	s.Done = append([]int64(nil), p.done...)
	p.pending = 0
	p.mu.Unlock()
	if err := p.f.Sync(); err != nil {
		return cacheError(err)
	}
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	// No sync of its own: after a power cut an older or an empty one is found, and both are safe.
	tmp := progressPath(p.path) + ".new"
	if err := os.WriteFile(tmp, data, 0o666); err != nil {
		return cacheError(err)
	}
	return cacheError(os.Rename(tmp, progressPath(p.path)))
}

// restart forgets all data, for a server that sends a file only from its beginning. No writer may be active.
func (p *partial) restart() {
	p.mu.Lock()
	clear(p.done)
	p.total, p.pending = 0, 0
	p.mu.Unlock()
	p.hashMu.Lock()
	p.hash, p.hashed = newHash(p.file), 0
	p.hashMu.Unlock()
}

// halt ends the workers; what was recorded stays for the next run, and the rest is recorded if possible.
func (p *partial) halt() error {
	close(p.stop)
	p.workers.Wait()
	p.mu.Lock()
	err, pending := p.failed, p.pending
	p.mu.Unlock()
	if err == nil && pending > 0 {
		err = p.record()
	}
	if e := p.f.Close(); err == nil {
		err = cacheError(e)
	}
	return err
}

// digestError is a blob whose data is not what the listing promised.
type digestError struct{ want, got string }

// Error names both digests.
func (e *digestError) Error() string { return fmt.Sprintf("digest %s, promised %s", e.got, e.want) }

// finish gives the blob its final name if its digest is right: sync, rename, sync of the folder. Otherwise the data
// is removed and a *digestError returned. All data is there and no writer is active.
func (p *partial) finish() error {
	close(p.stop)
	p.workers.Wait()
	err := p.failed
	if err == nil {
		err = p.catchUp(make([]byte, bufferSize))
	}
	if err == nil {
		if got := hex.EncodeToString(p.hash.Sum(nil)); got != p.file.ETag() {
			err = &digestError{want: p.file.ETag(), got: got}
			p.discard()
		}
	}
	if err == nil {
		err = cacheError(p.f.Sync())
	}
	if e := p.f.Close(); err == nil {
		err = cacheError(e)
	}
	if err != nil {
		return err
	}
	if err := os.Rename(partialPath(p.path), p.path); err != nil {
		return cacheError(err)
	}
	p.removeProgress()
	return cacheError(syncDir(filepath.Dir(p.path)))
}

// discard leaves nothing from which a later run could continue.
func (p *partial) discard() {
	_ = os.Remove(partialPath(p.path))
	p.removeProgress()
}

// removeProgress also takes what a kill between write and rename left.
func (p *partial) removeProgress() {
	_ = os.Remove(progressPath(p.path))
	_ = os.Remove(progressPath(p.path) + ".new")
}

// syncDir makes a rename last. Systems that cannot sync a folder keep renames by other means.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	_ = d.Sync()
	return nil
}
