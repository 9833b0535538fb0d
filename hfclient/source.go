package hfclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
)

const maxRefreshes = 8 // fresh signed addresses in a row without a byte from them

// errNoRanges says that the server does not give the range that was asked for: the file must come in one piece.
var errNoRanges = errors.New("the server ignores ranges")

// source is one file of a commit, read by ranges from wherever the Hub points to.
type source struct {
	c    *Client
	rev  *Revision
	file File

	mu     sync.Mutex
	signed string // where the Hub pointed to last; a secret
	tag    string // ETag of the host behind it: not the digest, but it must not change
	direct bool   // the Hub itself gives the data
	stale  int
}

// source starts without an address: the first range asks the Hub for one.
func (c *Client) source(r *Revision, f File) *source { return &source{c: c, rev: r, file: f} }

// on is what messages and refusals of this file are about.
func (s *source) on() subject {
	return subject{repo: s.rev.Repo, revision: s.rev.Commit, path: s.file.Path}
}

// broken is a promise of the Hub that the data, or another answer, contradicts.
func (s *source) broken(format string, a ...any) error {
	return &Error{Kind: ErrIntegrity, On: s.on().String(), Says: fmt.Sprintf(format, a...),
		Next: "run the same command again; if it stays so, the mirror or a proxy alters what it hands out"}
}

// ranged opens bytes [lo, hi). The body gives at most that much; it may break off. errNoRanges is final for ranges,
// except that a whole file's body is accepted for a range that is the whole file.
func (s *source) ranged(ctx context.Context, lo, hi int64) (io.ReadCloser, error) {
	want := http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", lo, hi-1)}}
	resp, err := s.get(ctx, want)
	if err != nil {
		return nil, err
	}
	whole := lo == 0 && hi == s.file.Size
	switch enc := resp.Header.Get("Content-Encoding"); {
	case resp.StatusCode == http.StatusPartialContent && !plain(enc):
		err = errNoRanges
	case resp.StatusCode == http.StatusPartialContent:
		err = s.checkRange(resp, lo, hi)
	case resp.StatusCode == http.StatusOK && whole && plain(enc) && resp.ContentLength == s.file.Size:
	case resp.StatusCode == http.StatusOK:
		err = errNoRanges
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		err = s.unsatisfiable(resp)
	default:
		return nil, s.refused(resp)
	}
	if err != nil {
		_ = resp.Body.Close() // not drained: it may be the whole file
		return nil, err
	}
	s.mu.Lock()
	s.stale = 0
	s.mu.Unlock()
	return resp.Body, nil
}

// plain says that the body is the file itself: a range of a compressed body is a range of something else.
func plain(encoding string) bool { return encoding == "" || strings.EqualFold(encoding, "identity") }

// whole opens the file without a range, for servers that know none.
func (s *source) whole(ctx context.Context) (io.Reader, io.Closer, error) {
	resp, err := s.get(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, nil, s.refused(resp)
	}
	body, err := decoded(resp)
	if err == nil && plain(resp.Header.Get("Content-Encoding")) && resp.ContentLength >= 0 && resp.ContentLength != s.file.Size {
		err = s.broken("the server sends %d bytes, the listing promises %d", resp.ContentLength, s.file.Size)
	}
	if err != nil {
		_ = resp.Body.Close()
		return nil, nil, err
	}
	return body, resp.Body, nil
}

// get sends a request to the signed address if there is one that still works, else to the Hub.
func (s *source) get(ctx context.Context, header http.Header) (*http.Response, error) {
	for {
		s.mu.Lock()
		at := s.signed
		if s.direct {
			at = s.c.fileAddress(s.rev.Canonical, s.rev.Commit, s.file.Path)
		}
		if at == "" {
			// One request asks the Hub; the others wait for the address that it gets.
			resp, err := s.resolve(ctx, header)
			s.mu.Unlock()
			return resp, err
		}
		direct := s.direct
		s.mu.Unlock()
		resp, err := s.c.send(ctx, http.MethodGet, at, header, s.on(), hops{foreign: true})
		if err != nil {
			return nil, err
		}
		if direct || !expired(resp.StatusCode) {
			return resp, s.sameTag(at, resp)
		}
		if err := s.forget(at, resp); err != nil {
			return nil, err
		}
	}
}

// expired is how a storage host refuses an address whose signature is too old.
func expired(status int) bool { return status == 400 || status == 401 || status == 403 }

// forget drops a signed address that was refused, unless another request has done so.
func (s *source) forget(at string, resp *http.Response) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signed == at {
		if s.stale++; s.stale > maxRefreshes {
			return s.refused(resp)
		}
		s.signed, s.tag = "", ""
	}
	drain(resp.Body)
	return nil
}

// resolve asks the Hub and keeps the address that it points to. s.mu is held.
func (s *source) resolve(ctx context.Context, header http.Header) (*http.Response, error) {
	visit := func(resp *http.Response) error {
		if !s.c.trusted(resp.Request.URL) {
			s.signed = resp.Request.URL.String()
			return nil
		}
		return s.checkPromise(resp.Header)
	}
	address := s.c.fileAddress(s.rev.Canonical, s.rev.Commit, s.file.Path)
	for {
		resp, err := s.c.send(ctx, http.MethodGet, address, header, s.on(), hops{foreign: true, visit: visit})
		if err != nil {
			s.signed = "" // an address that leads in a circle is not tried again
			return nil, err
		}
		if s.signed != "" && expired(resp.StatusCode) {
			s.signed = ""
			if s.stale++; s.stale <= maxRefreshes {
				drain(resp.Body)
				continue
			}
		}
		if resp.StatusCode/100 == 2 {
			s.tag, s.direct = resp.Header.Get("ETag"), s.signed == ""
		}
		return resp, nil
	}
}

// refused is a failed answer for the file. Only the Hub's own 401 or 404 says something about the repo.
func (s *source) refused(resp *http.Response) error {
	if s.c.trusted(resp.Request.URL) {
		return s.c.statusError(resp, s.on())
	}
	drain(resp.Body)
	return &Error{Kind: ErrUnavailable, On: s.on().String(), Status: resp.StatusCode,
		Says: fmt.Sprintf("the storage host %s answers with status %d", resp.Request.URL.Host, resp.StatusCode),
		Next: "run the same command again later; what is proven is kept"}
}

// checkPromise compares what the Hub says of the file with its listing.
func (s *source) checkPromise(h http.Header) error {
	if commit := h.Get("X-Repo-Commit"); commit != "" && commit != s.rev.Commit {
		return s.broken("the Hub answers for commit %.40s, asked for %s", commit, s.rev.Commit)
	}
	if tag := etag(h.Get("X-Linked-Etag")); tag != "" && tag != s.file.ETag() {
		return s.broken("the Hub points to digest %.64s, its listing promises %s", tag, s.file.ETag())
	}
	if v := h.Get("X-Linked-Size"); v != "" && v != strconv.FormatInt(s.file.Size, 10) {
		return s.broken("the Hub points to %.20s bytes, its listing promises %d", v, s.file.Size)
	}
	return nil
}

// etag drops the weakness mark and the quotes.
func etag(v string) string { return strings.Trim(strings.TrimPrefix(v, "W/"), `"`) }

// sameTag notices that the data behind an address was exchanged between two ranges.
// Two addresses may lead to stores that tag differently.
func (s *source) sameTag(at string, resp *http.Response) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.signed != at && !s.direct {
		return nil
	}
	got := resp.Header.Get("ETag")
	if resp.StatusCode/100 == 2 && s.tag != "" && got != "" && got != s.tag {
		_ = resp.Body.Close()
		return s.broken("the storage host changed the file between two ranges")
	}
	return nil
}

// checkRange demands the exact range and the promised size of the whole. A range that is not the one asked for is
// as good as none.
func (s *source) checkRange(resp *http.Response, lo, hi int64) error {
	got := resp.Header.Get("Content-Range")
	if _, total, ok := strings.Cut(got, "/"); ok {
		if n, err := strconv.ParseInt(total, 10, 64); err == nil && n != s.file.Size {
			return s.broken("the server has %d bytes, the listing promises %d", n, s.file.Size)
		}
	}
	if got != fmt.Sprintf("bytes %d-%d/%d", lo, hi-1, s.file.Size) && got != fmt.Sprintf("bytes %d-%d/*", lo, hi-1) {
		return fmt.Errorf("%w: Content-Range %.80q for bytes %d-%d of %d", errNoRanges, got, lo, hi-1, s.file.Size)
	}
	if resp.ContentLength >= 0 && resp.ContentLength != hi-lo {
		return fmt.Errorf("%w: %d bytes for a range of %d", errNoRanges, resp.ContentLength, hi-lo)
	}
	return nil
}

// unsatisfiable sorts a 416: a file of another size is a broken promise, the right size a server that errs.
func (s *source) unsatisfiable(resp *http.Response) error {
	total, ok := strings.CutPrefix(resp.Header.Get("Content-Range"), "bytes */")
	if n, err := strconv.ParseInt(total, 10, 64); ok && err == nil && n != s.file.Size {
		return s.broken("the server has %d bytes, the listing promises %d", n, s.file.Size)
	}
	return errNoRanges
}
