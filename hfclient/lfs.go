package hfclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/google/renameio/v2"
	"golang.org/x/sync/errgroup"
)

const (
	lfsType  = "application/vnd.git-lfs+json"
	maxParts = 10_000 // parts of an object, the bound of the storage behind the Hub
)

// link is an address that the Hub hands out, with the headers that belong to it.
type link struct {
	Href   string
	Header map[string]any
}

// object is the Hub's answer about one large file: without actions it is there already.
type object struct {
	OID     string
	Size    int64
	Actions *struct{ Upload, Verify *link }
	Error   *struct {
		Code    int
		Message string
	}
}

// uploadLarge brings the large files into the repo's storage. Each is asked about when its turn comes: addresses last an hour or so.
func (c *Client) uploadLarge(ctx context.Context, u Upload, files []*added, done *Uploaded) error {
	seen := map[string]bool{} // the same bytes under two names are one object
	var large []NewFile
	var listed []File
	for _, f := range files {
		if !f.lfs || f.ignored || seen[f.SHA256] || f.oid == f.SHA256 {
			continue
		}
		seen[f.SHA256] = true
		large = append(large, f.NewFile)
		listed = append(listed, File{Path: f.Path, Size: f.Size, SHA256: f.SHA256})
	}
	m := newMeter(u.Progress, listed)
	defer m.stop()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(objectsAside)
	var mu sync.Mutex
	for _, f := range large {
		t := &transfer{c: c, u: u, f: f, meter: m.files[f.Path]}
		g.Go(func() error {
			there, err := t.ask(ctx)
			if err == nil && !there {
				t.meter.enter(Fetching, 0)
				err = t.run(ctx)
			}
			mu.Lock()
			defer mu.Unlock()
			done.Sent += t.sent
			if there {
				done.Present++
			}
			if err == nil {
				t.meter.enter(Done, f.Size)
			}
			return err
		})
	}
	return g.Wait()
}

// transfer is one object on its way.
type transfer struct {
	c     *Client
	u     Upload
	f     NewFile
	o     object
	meter *fileMeter

	mu   sync.Mutex
	sent int64
}

// ask learns where the object goes, or that it is there already.
func (t *transfer) ask(ctx context.Context) (there bool, err error) {
	question, err := json.Marshal(map[string]any{"operation": "upload", "transfers": []string{"basic", "multipart"}, "hash_algo": "sha256",
		"ref": map[string]string{"name": t.u.Revision}, "objects": []map[string]any{{"oid": t.f.SHA256, "size": t.f.Size}}})
	if err != nil {
		return false, err
	}
	var answer struct{ Objects []object }
	if err := t.c.postBytes(ctx, t.c.address("/"+t.u.Repo+".git/info/lfs/objects/batch"), lfsType, question, t.on(), &answer); err != nil {
		return false, err
	}
	if len(answer.Objects) != 1 || answer.Objects[0].OID != t.f.SHA256 {
		return false, &Error{Kind: ErrIntegrity, On: t.on().String(), Says: "the Hub answers about other objects than it was asked about"}
	}
	t.o = answer.Objects[0]
	if e := t.o.Error; e != nil {
		return false, &Error{Kind: ErrUnavailable, On: t.on().String(), Status: e.Code,
			Says: fmt.Sprintf("the Hub does not take an object of %d bytes (%d: %s)", t.f.Size, e.Code, printable(e.Message, 300))}
	}
	return t.o.Actions == nil || t.o.Actions.Upload == nil, nil
}

// on names the file in messages.
func (t *transfer) on() subject { return subject{repo: t.u.Repo, path: t.f.Path} }

// run sends the object, in parts where the Hub wants parts, and lets it be verified.
func (t *transfer) run(ctx context.Context) error {
	src, err := t.f.open()
	if err != nil {
		return err
	}
	defer src.Close()
	up := t.o.Actions.Upload
	if _, ok := up.Header["chunk_size"]; ok {
		err = t.multipart(ctx, src, up)
	} else {
		_, err = t.put(ctx, src, up.Href, up.Header, 0, t.f.Size)
	}
	if err != nil || t.o.Actions.Verify == nil {
		return err
	}
	question, err := json.Marshal(map[string]any{"oid": t.o.OID, "size": t.f.Size})
	if err != nil {
		return err
	}
	address, err := t.address(t.o.Actions.Verify.Href)
	if err != nil {
		return err
	}
	return t.c.postBytes(ctx, address, lfsType, question, t.on(), nil)
}

// address checks where the Hub sends us: never away from encryption.
func (t *transfer) address(href string) (string, error) {
	u, err := url.Parse(href)
	if err != nil || u.Host == "" {
		return "", &Error{Kind: ErrUnavailable, On: t.on().String(), Says: "unusable address from the server"}
	}
	u = t.c.mirrored(u)
	if err := t.c.mayFollow(t.c.endpoint, u, t.on(), true); err != nil {
		return "", err
	}
	u.User = nil
	return u.String(), nil
}

// put sends the bytes from lo to hi and gives the ETag that the storage names them by.
func (t *transfer) put(ctx context.Context, src io.ReaderAt, href string, extra map[string]any, lo, hi int64) (string, error) {
	address, err := t.address(href)
	if err != nil {
		return "", err
	}
	header := http.Header{}
	for k, v := range extra {
		if s, ok := v.(string); ok {
			header.Set(k, s)
		}
	}
	if err := t.c.conns.Acquire(ctx, 1); err != nil {
		return "", err
	}
	defer t.c.conns.Release(1)
	var last *outgoing
	p := &payload{size: hi - lo, open: func() io.ReadCloser {
		if last != nil {
			last.retire()
		}
		last = &outgoing{ctx: ctx, t: t, r: io.NewSectionReader(src, lo, hi-lo)}
		return last
	}}
	resp, err := t.c.send(ctx, http.MethodPut, address, header, t.on(), hops{foreign: true, body: p})
	if err != nil {
		return "", err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		err := t.c.writeError(resp, t.on())
		var e *Error
		if errors.As(err, &e) && !transient(e.Status) { // a storage host knows no tokens
			e.Kind, e.Says, e.Next = ErrUnavailable, fmt.Sprintf("the storage refuses the bytes %d to %d with status %d", lo, hi, e.Status), "run the same command again: what is there is not sent again"
		}
		return "", err
	}
	drain(resp.Body)
	t.mu.Lock()
	t.sent += hi - lo
	t.mu.Unlock()
	return resp.Header.Get("ETag"), nil
}

// outgoing counts what the network takes, and keeps to the rate. The network may read it still when its try is over.
type outgoing struct {
	ctx context.Context
	t   *transfer
	r   io.Reader

	mu   sync.Mutex
	sent int64
	over bool
}

// Read implements io.Reader.
func (o *outgoing) Read(p []byte) (int, error) {
	p = o.t.c.limit.chunk(p)
	if err := o.t.c.limit.wait(o.ctx, len(p)); err != nil {
		return 0, err
	}
	n, err := o.r.Read(p)
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.over {
		o.sent += int64(n)
		o.t.meter.add(int64(n), true)
	}
	return n, err
}

// retire takes what was sent back: the next try sends it again.
func (o *outgoing) retire() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
	o.t.meter.add(-o.sent, false)
}

// Close implements io.Closer; the file stays open for other parts.
func (o *outgoing) Close() error { return nil }

// parts is an object that is sent in parts, as it is remembered until all are there. The addresses are secrets while they last.
type parts struct {
	OID   string         `json:"oid"`
	Chunk int64          `json:"chunk"` // bytes of a part but for the last
	Href  string         `json:"href"`  // where the end is told
	URLs  []string       `json:"urls"`  // of the parts
	ETags map[int]string `json:"etags"` // of those that are there, by index
}

// partsOf counts the parts of an object; both sizes are positive and may be anything else.
func partsOf(size, chunk int64) int64 { return (size-1)/chunk + 1 }

// newParts checks that the addresses cover the object exactly.
func newParts(oid string, size int64, up *link) (*parts, error) {
	text := fmt.Sprint(up.Header["chunk_size"])
	if f, ok := up.Header["chunk_size"].(float64); ok { // a number here, a text there
		text = strconv.FormatFloat(f, 'f', -1, 64)
	}
	chunk, err := strconv.ParseInt(text, 10, 64)
	if err != nil || chunk <= 0 {
		return nil, fmt.Errorf("%.40q is not the size of a part", text)
	}
	n := partsOf(size, chunk)
	if n > maxParts {
		return nil, fmt.Errorf("%d parts, at most %d", n, maxParts)
	}
	p := &parts{OID: oid, Chunk: chunk, Href: up.Href, URLs: make([]string, n), ETags: map[int]string{}}
	for k, v := range up.Header {
		i, err := strconv.Atoi(k) // numbered from 1; other keys are no parts
		s, ok := v.(string)
		if err != nil || !ok {
			continue
		}
		if i < 1 || int64(i) > n || p.URLs[i-1] != "" {
			return nil, fmt.Errorf("part %d of %d", i, n)
		}
		p.URLs[i-1] = s
	}
	for i, s := range p.URLs {
		if s == "" {
			return nil, fmt.Errorf("no address for part %d of %d", i+1, n)
		}
	}
	return p, nil
}

// multipart continues what an earlier run began; where the Hub has forgotten that, it begins anew.
func (t *transfer) multipart(ctx context.Context, src io.ReaderAt, up *link) error {
	fresh, err := newParts(t.o.OID, t.f.Size, up)
	if err != nil {
		return &Error{Kind: ErrUnavailable, On: t.on().String(), Says: "the Hub's plan for an upload in parts cannot be used", Err: err}
	}
	if old := t.remembered(); old != nil {
		err := t.sendParts(ctx, src, old)
		var e *Error
		if !errors.As(err, &e) || e.Status < 400 || transient(e.Status) {
			return err
		}
		t.c.o.Logger.Debug("an upload in parts begins anew", "file", t.f.Path, "because", err)
		t.meter.enter(Fetching, 0)
	}
	return t.sendParts(ctx, src, fresh)
}

func (t *transfer) sendParts(ctx context.Context, src io.ReaderAt, p *parts) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(t.c.o.PerFile)
	for i, href := range p.URLs {
		lo := int64(i) * p.Chunk
		hi := lo + min(p.Chunk, t.f.Size-lo)
		if t.has(p, i) {
			t.meter.add(hi-lo, false)
			continue
		}
		g.Go(func() error {
			etag, err := t.put(gctx, src, href, nil, lo, hi)
			if err != nil {
				return err
			}
			if etag == "" {
				return &Error{Kind: ErrUnavailable, On: t.on().String(), Says: fmt.Sprintf("the storage names no ETag for part %d", i+1)}
			}
			return t.remember(p, i, etag)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	type part struct {
		Number int    `json:"partNumber"`
		ETag   string `json:"etag"`
	}
	end := struct {
		OID   string `json:"oid"`
		Parts []part `json:"parts"`
	}{OID: p.OID}
	for i := range p.URLs {
		end.Parts = append(end.Parts, part{i + 1, p.ETags[i]})
	}
	question, err := json.Marshal(end)
	if err != nil {
		return err
	}
	address, err := t.address(p.Href)
	if err != nil {
		return err
	}
	if err := t.c.postBytes(ctx, address, lfsType, question, t.on(), nil); err != nil {
		return err
	}
	return t.forget()
}

// record is the file that remembers the object; empty: none.
func (t *transfer) record() string {
	if t.u.Keep == "" {
		return ""
	}
	return filepath.Join(t.u.Keep, t.o.OID+".json")
}

func (t *transfer) has(p *parts, i int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return p.ETags[i] != ""
}

// remember writes down that a part is there. Only its owner reads the file: the addresses in it are signed.
func (t *transfer) remember(p *parts, i int, etag string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	p.ETags[i] = etag
	path := t.record()
	if path == "" {
		return nil
	}
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(t.u.Keep, 0o700); err != nil {
		return err
	}
	return renameio.WriteFile(path, b, 0o600)
}

// remembered is what an earlier run left, nil where it does not fit the file any more.
func (t *transfer) remembered() *parts {
	b, err := readBounded(t.record(), maxListing)
	if err != nil {
		return nil
	}
	var p parts
	if json.Unmarshal(b, &p) != nil || p.OID != t.o.OID || p.Chunk <= 0 || int64(len(p.URLs)) != partsOf(t.f.Size, p.Chunk) || p.ETags == nil {
		return nil
	}
	return &p
}

func (t *transfer) forget() error {
	path := t.record()
	if path == "" {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
