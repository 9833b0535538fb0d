package hfclient

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	maxTries  = 5                // a request and four repetitions
	maxWait   = 5 * time.Minute  // longest wait that a server may ask for
	longWait  = 10 * time.Second // a wait that the user should hear of
	maxDrain  = 64 << 10         // bytes of an error body that are read so that its connection can be used again
	idleAfter = 60 * time.Second // an idle connection is closed then

	listingPatience = 3  // times the wait for a head that a listing gets: the Hub makes it on demand
	writePatience   = 12 // times it for what was sent: a commit and the end of a large object take the server a while
)

// errStalled ends a body or a head that did not move for the time allowed.
var errStalled = errors.New("no byte came in time")

// newTransport stacks the layers; a request passes them from top to bottom.
func newTransport(o Options, allowed func(*url.URL) bool) http.RoundTripper {
	rt := o.Transport
	if rt == nil {
		rt = baseTransport(o.Connections)
	}
	rt = &patience{next: rt, head: o.MetadataTimeout, body: o.StallTimeout}
	rt = &journal{next: rt, log: o.Logger}
	rt = &retry{next: rt, wait: o.RetryWait, log: o.Logger}
	rt = &bearer{next: rt, token: o.Token.Value, allowed: allowed}
	return &agent{next: rt, name: o.UserAgent}
}

// baseTransport keeps to HTTP/1.1: HTTP/2 would carry all segments over one connection, with its single window.
func baseTransport(connections int) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		Protocols:              protocols,
		DisableCompression:     true, // a compressed body ignores ranges
		MaxIdleConnsPerHost:    connections,
		IdleConnTimeout:        idleAfter,
		TLSHandshakeTimeout:    15 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
}

// agent names the client and asks for bodies as they are.
type agent struct {
	next http.RoundTripper
	name string
}

// RoundTrip implements http.RoundTripper.
func (t *agent) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", t.name)
	r.Header.Set("Accept-Encoding", "identity")
	return t.next.RoundTrip(r)
}

// bearer adds the token for the hosts that may see it and strips it for all others.
type bearer struct {
	next    http.RoundTripper
	token   string
	allowed func(*url.URL) bool
}

// RoundTrip implements http.RoundTripper.
func (t *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Del("Authorization")
	if t.token != "" && t.allowed(r.URL) {
		r.Header.Set("Authorization", "Bearer "+t.token)
	}
	return t.next.RoundTrip(r)
}

// retry repeats a request whose answer says that a later one may succeed. A body is made anew for each try.
type retry struct {
	next http.RoundTripper
	wait time.Duration
	log  *slog.Logger
}

// RoundTrip implements http.RoundTripper.
func (t *retry) RoundTrip(r *http.Request) (*http.Response, error) {
	for try := 1; ; try++ {
		if try > 1 && r.GetBody != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			r = r.Clone(r.Context())
			r.Body = body
		}
		resp, err := t.next.RoundTrip(r)
		if r.Context().Err() != nil || try == maxTries || (err == nil && !transient(resp.StatusCode)) {
			return resp, err
		}
		wait := backoff(t.wait, try)
		why := ""
		if err != nil {
			why = redactError(err)
		} else {
			why = resp.Status
			if asked, ok := askedWait(resp.Header, time.Now()); ok {
				wait = asked
			}
			drain(resp.Body)
		}
		level := slog.LevelDebug
		if wait >= longWait {
			level = slog.LevelWarn // a silent minute looks like a hang
		}
		t.log.Log(r.Context(), level, "retry", "url", redact(r.URL), "try", try, "wait", wait, "because", why)
		if err := sleep(r.Context(), wait); err != nil {
			return nil, err
		}
	}
}

// transient statuses are those that the Hub and its storage send when they are busy, not when the request is wrong.
func transient(status int) bool {
	switch status {
	case 408, 429, 500, 502, 503, 504:
		return true
	}
	return false
}

// backoff doubles from first up to eight times it, with a jitter so that many clients do not return together.
func backoff(first time.Duration, try int) time.Duration {
	d := first << min(try-1, 3)
	return d/2 + rand.N(d/2+1)
}

// askedWait reads `RateLimit: "resolvers";r=0;t=N` and Retry-After (seconds or a date).
func askedWait(h http.Header, now time.Time) (time.Duration, bool) {
	for _, part := range strings.Split(h.Get("RateLimit"), ";") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(part), "t="); ok {
			if s, err := strconv.Atoi(v); err == nil && s >= 0 {
				return min(time.Duration(min(s, 1<<20))*time.Second, maxWait), true
			}
		}
	}
	v := strings.TrimSpace(h.Get("Retry-After"))
	if s, err := strconv.Atoi(v); err == nil && s >= 0 {
		return min(time.Duration(min(s, 1<<20))*time.Second, maxWait), true
	}
	if at, err := http.ParseTime(v); err == nil {
		return max(0, min(at.Sub(now), maxWait)), true
	}
	return 0, false
}

// sleep ends early with its context.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// drain reads little: a large body costs more than a new connection.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, maxDrain)
	_ = body.Close()
}

// journal logs each exchange without headers and without the query of an address, which is a signature.
type journal struct {
	next http.RoundTripper
	log  *slog.Logger
}

// RoundTrip implements http.RoundTripper.
func (t *journal) RoundTrip(r *http.Request) (*http.Response, error) {
	start := time.Now()
	resp, err := t.next.RoundTrip(r)
	attrs := []any{"method", r.Method, "url", redact(r.URL), "range", r.Header.Get("Range"), "took", time.Since(start)}
	if err != nil {
		t.log.Debug("request failed", append(attrs, "error", redactError(err))...)
		return nil, err
	}
	t.log.Debug("request", append(attrs, "status", resp.StatusCode, "length", resp.ContentLength)...)
	return resp, nil
}

// redact shows an address without user, query and fragment.
func redact(u *url.URL) string {
	c := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	if u.RawQuery != "" && !strings.Contains(u.Path, "/api/models/") {
		return c.String() + "?…"
	}
	c.RawQuery = u.RawQuery
	return c.String()
}

// redactError drops the address that net/http puts in front of its errors.
func redactError(err error) string {
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return err.Error()
}

// patience ends a request whose head or whose next byte does not come in time.
type patience struct {
	next       http.RoundTripper
	head, body time.Duration
}

// RoundTrip implements http.RoundTripper.
func (t *patience) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	wait := t.head
	switch {
	case r.Header.Get("Range") != "":
		wait = t.body
	case r.Method == http.MethodGet:
		wait *= listingPatience
	case r.Body != nil:
		wait *= writePatience
	}
	timer := time.AfterFunc(wait, func() { cancel(errStalled) })
	r = r.WithContext(ctx)
	if r.Body != nil {
		r.Body = &sending{r.Body, timer, wait}
	}
	resp, err := t.next.RoundTrip(r)
	timer.Stop()
	if err != nil {
		if context.Cause(ctx) == errStalled {
			err = errStalled
		}
		cancel(nil)
		return nil, err
	}
	resp.Body = &patientBody{body: resp.Body, ctx: ctx, cancel: cancel, timer: timer, wait: t.body}
	return resp, nil
}

// sending gives a request new patience with every byte of its body that the network takes.
type sending struct {
	io.ReadCloser
	timer *time.Timer
	wait  time.Duration
}

// Read implements io.Reader.
func (s *sending) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	s.timer.Reset(s.wait)
	return n, err
}

// patientBody arms the timer only while a read waits for the network, never while its user is busy elsewhere.
type patientBody struct {
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	wait   time.Duration
	once   sync.Once
}

// Read implements io.Reader.
func (b *patientBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.wait)
	n, err := b.body.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF && context.Cause(b.ctx) == errStalled {
		err = errStalled
	}
	return n, err
}

// Close implements io.Closer.
func (b *patientBody) Close() error {
	var err error
	b.once.Do(func() {
		b.timer.Stop()
		b.cancel(nil)
		err = b.body.Close()
	})
	return err
}
