package hfclient

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	maxRedirects = 8
	maxListing   = 64 << 20 // bytes of one API answer; 50,000 siblings take about 15 MB
	maxErrorBody = 64 << 10
)

// Client speaks with one endpoint and keeps one cache. It is safe for concurrent use.
type Client struct {
	o        Options
	endpoint *url.URL
	hub      *url.URL // where the token may go besides the endpoint
	http     *http.Client
	cache    *cache
	conns    *semaphore.Weighted
	limit    *rateLimit
	buffers  sync.Pool
}

// New checks the options and makes a client. Nothing is sent.
func New(o Options) (*Client, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	endpoint, err := url.Parse(strings.TrimRight(o.Endpoint, "/"))
	if err != nil || endpoint.Host == "" || (endpoint.Scheme != "https" && endpoint.Scheme != "http") {
		return nil, &Error{Kind: ErrInvalid, On: o.Endpoint, Says: "is not an address of a Hub",
			Next: "HF_ENDPOINT must look like " + HubEndpoint}
	}
	hub, _ := url.Parse(HubEndpoint)
	c := &Client{
		o: o, endpoint: endpoint, hub: hub,
		cache: newCache(o.CacheDir),
		conns: semaphore.NewWeighted(int64(o.Connections)),
		limit: &rateLimit{perSecond: o.RateLimit},
	}
	c.buffers.New = func() any { b := make([]byte, bufferSize); return &b }
	c.http = &http.Client{
		Transport:     newTransport(o, c.trusted),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

// complete fills in the defaults, which are those of the environment without any variable.
func (o *Options) complete() error {
	if o.Endpoint == "" {
		o.Endpoint = HubEndpoint
	}
	if o.CacheDir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return &Error{Kind: ErrCache, Says: "no home folder to keep the cache in", Next: "set HF_HOME", Err: err}
		}
		o.CacheDir = home + "/.cache/huggingface/hub"
	}
	if o.UserAgent == "" {
		o.UserAgent = "quern"
	}
	o.Connections = orDefault(o.Connections, 16)
	o.PerFile = min(orDefault(o.PerFile, 8), o.Connections)
	o.SegmentSize = orDefault(o.SegmentSize, 64<<20)
	o.MetadataTimeout = orDefault(o.MetadataTimeout, 10*time.Second)
	o.StallTimeout = orDefault(o.StallTimeout, 10*time.Second)
	o.RetryWait = orDefault(o.RetryWait, time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// orDefault treats a negative number like none.
func orDefault[T int | int64 | time.Duration](v, otherwise T) T {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Endpoint is the base address without a trailing slash.
func (c *Client) Endpoint() string { return c.endpoint.String() }

// CacheDir is the folder that holds models--org--name.
func (c *Client) CacheDir() string { return c.cache.root }

// trusted reports whether u is the endpoint or the Hub: same scheme, host and port. Only they see the token.
func (c *Client) trusted(u *url.URL) bool { return sameOrigin(u, c.endpoint) || sameOrigin(u, c.hub) }

// sameOrigin compares what a browser would: another port is another host.
func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// port is explicit, so that https://host and https://host:443 are one origin.
func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// address is an endpoint address; parts are escaped, each as one segment.
func (c *Client) address(prefix string, parts ...string) string {
	var b strings.Builder
	b.WriteString(c.endpoint.String())
	b.WriteString(prefix)
	for _, p := range parts {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(p))
	}
	return b.String()
}

// apiAddress needs a checked repo id; a revision like refs/pr/4 becomes one segment.
func (c *Client) apiAddress(repo string, parts ...string) string {
	return c.address("/api/models/"+repo, parts...)
}

// fileAddress escapes each folder of the path by itself.
func (c *Client) fileAddress(repo, commit, path string) string {
	return c.address("/"+repo+"/resolve", append([]string{commit}, strings.Split(path, "/")...)...)
}

// mirrored turns an address of the Hub into one of the endpoint: a mirror hands out the Hub's own addresses,
// which its user may be unable to reach.
func (c *Client) mirrored(u *url.URL) *url.URL {
	if !sameOrigin(u, c.hub) || sameOrigin(c.endpoint, c.hub) {
		return u
	}
	m, err := url.Parse(c.endpoint.String() + u.RequestURI())
	if err != nil {
		return u
	}
	return m
}

// subject is what a request is about, for messages.
type subject struct {
	repo, revision, path string
}

// String is repo, repo@revision or repo/path.
func (s subject) String() string {
	switch {
	case s.path != "":
		return s.repo + "/" + s.path
	case s.revision != "" && s.revision != "main":
		return s.repo + "@" + s.revision
	}
	return s.repo
}

// hops says where redirects may lead and looks at each answer on the way.
type hops struct {
	foreign bool                       // hosts other than the Hub may answer: the file's CDN
	visit   func(*http.Response) error // nil: none
	body    *payload                   // nil: none
}

// payload is the body of a request: it is opened once for each try.
type payload struct {
	size int64 // at least 1: without a length storage hosts refuse it
	open func() io.ReadCloser
}

// attach makes p the body of a request.
func (p *payload) attach(req *http.Request) {
	req.Body, req.ContentLength = p.open(), p.size
	req.GetBody = func() (io.ReadCloser, error) { return p.open(), nil }
}

// send makes one request and follows its redirects by our rules. Every status comes back as a response.
func (c *Client) send(ctx context.Context, method string, address string, header http.Header, on subject, h hops) (*http.Response, error) {
	if c.o.Offline {
		return nil, offlineError(on, "the network is not to be used (HF_HUB_OFFLINE)")
	}
	for range maxRedirects {
		req, err := http.NewRequestWithContext(ctx, method, address, nil)
		if err != nil {
			return nil, &Error{Kind: ErrUnavailable, On: on.String(), Says: "unusable address from the server"}
		}
		for k, v := range header {
			req.Header[k] = v
		}
		if h.body != nil {
			h.body.attach(req)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			return nil, c.networkError(ctx, on, req.URL, err)
		}
		if h.visit != nil {
			if err := h.visit(resp); err != nil {
				drain(resp.Body)
				return nil, err
			}
		}
		next := resp.Header.Get("Location")
		if !isRedirect(resp.StatusCode) || next == "" {
			return resp, nil
		}
		if h.body != nil && resp.StatusCode != http.StatusTemporaryRedirect && resp.StatusCode != http.StatusPermanentRedirect {
			return resp, nil // the others ask for a GET: what was to be written would be lost in silence
		}
		drain(resp.Body)
		to, err := req.URL.Parse(next)
		if err != nil {
			return nil, &Error{Kind: ErrUnavailable, On: on.String(), Says: "unusable redirect from " + req.URL.Host}
		}
		to = c.mirrored(to)
		if err := c.mayFollow(req.URL, to, on, h.foreign); err != nil {
			return nil, err
		}
		to.User = nil
		address = to.String()
	}
	return nil, &Error{Kind: ErrUnavailable, On: on.String(), Says: fmt.Sprintf("redirected more than %d times", maxRedirects),
		Next: "look at HF_ENDPOINT and the proxy: something answers in a circle"}
}

// isRedirect leaves out 300 and 304, which carry no place to go.
func isRedirect(status int) bool {
	switch status {
	case 301, 302, 303, 307, 308:
		return true
	}
	return false
}

// mayFollow lets anything lead back to the Hub. A file may come from its storage host, without the token; a listing
// may not, for a listing decides what is trusted. Encryption is never given up on the way.
func (c *Client) mayFollow(from, to *url.URL, on subject, foreign bool) error {
	if c.trusted(to) {
		return nil
	}
	says := ""
	switch {
	case to.Scheme != "https" && (to.Scheme != "http" || c.endpoint.Scheme == "https"):
		says = fmt.Sprintf("%s redirects to %s://%s, which is not encrypted", from.Host, to.Scheme, to.Host)
	case !foreign:
		says = fmt.Sprintf("%s redirects to the foreign host %s", from.Host, to.Host)
	default:
		return nil
	}
	return &Error{Kind: ErrUnavailable, On: on.String(), Says: says,
		Next: "a captive portal or a proxy may answer in the Hub's place; look at the network and at HF_ENDPOINT"}
}

// fetch gives the body of an API answer of at most limit bytes, with its header. A body that breaks off is asked
// for again.
func (c *Client) fetch(ctx context.Context, address string, on subject, limit int64) ([]byte, http.Header, error) {
	for try := 1; ; try++ {
		resp, err := c.send(ctx, http.MethodGet, address, nil, on, hops{})
		if err != nil {
			return nil, nil, err
		}
		if resp.StatusCode != http.StatusOK {
			return nil, nil, c.statusError(resp, on)
		}
		body, err := decoded(resp)
		var data []byte
		if err == nil {
			data, err = io.ReadAll(io.LimitReader(body, limit+1))
		}
		_ = resp.Body.Close()
		if int64(len(data)) > limit {
			return nil, nil, &Error{Kind: ErrIntegrity, On: on.String(),
				Says: fmt.Sprintf("an answer of more than %d bytes where a listing was asked for", limit)}
		}
		if err == nil {
			return data, resp.Header, nil
		}
		if ctx.Err() != nil || try == maxTries {
			return nil, nil, c.networkError(ctx, on, c.endpoint, err)
		}
		if err := sleep(ctx, backoff(c.o.RetryWait, try)); err != nil {
			return nil, nil, err
		}
	}
}
