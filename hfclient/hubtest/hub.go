// Package hubtest is a Hub for tests: real HTTP on loopback, a storage host on another port, a third host to which
// nobody should go, and faults on demand. Python's huggingface_hub accepts it as a Hub.
//
//	hub := hubtest.New()
//	defer hub.Close()
//	hub.Add("acme/tiny", os.DirFS("testdata/tiny"))
//	hub.Fault(hubtest.Fault{On: hubtest.Storage, Path: "*.safetensors", Nth: 1, Do: hubtest.Cut(1000)})
//	// run the program with hub.Env() in its environment
//	hub.Requests() // what each host was sent
//
// It imports nothing of quern, so that it cannot share a mistake with the client that it tests.
package hubtest

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Host is one of the three hosts of a Hub.
type Host string

// The hosts.
const (
	Main    Host = "hub"       // API and small files
	Storage Host = "storage"   // large files, by signed addresses; must never see a token
	Foreign Host = "elsewhere" // answers everything with a page; must never see a token
)

// Hub is a running fake. It is safe for concurrent use.
type Hub struct {
	// Prefix is a path below which the Hub lives, as behind a mirror: "/hf". Set it before the first request.
	Prefix string
	// PageSize is the number of entries of a page of a tree; default 1000.
	PageSize int
	// PartSize makes larger objects be uploaded in parts of this size; 0: none is. Set it before the first request.
	PartSize int64
	// Lifetime is how many requests a signed address serves; 0: any number.
	Lifetime int

	main, storage, foreign *httptest.Server

	mu       sync.Mutex
	repos    map[string]*Repo
	renamed  map[string]string
	faults   []*fault
	requests []Request
	served   map[string]int64
	signed   map[string]int // signature -> requests left
	serial   int
	received int64 // bytes of uploads
	up       uploads
}

// Request is what a host was sent, without its body.
type Request struct {
	Host   Host
	Method string
	Path   string // unescaped
	Query  string
	Header http.Header
	Via    string // the address in the request line if it came as to a proxy
}

// New starts a Hub without repos.
func New() *Hub {
	h := &Hub{repos: map[string]*Repo{}, renamed: map[string]string{}, served: map[string]int64{}, signed: map[string]int{}, up: newUploads()}
	h.main = h.start(Main, http.HandlerFunc(h.serveMain))
	h.storage = h.start(Storage, http.HandlerFunc(h.serveStorage))
	h.foreign = h.start(Foreign, http.HandlerFunc(servePage))
	return h
}

// start records before it answers, so that even a request that a fault swallows is seen.
func (h *Hub) start(host Host, next http.Handler) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := h.note(host, r)
		if f := h.match(host, r); f != nil {
			f.Do(&Exchange{Hub: h, W: w, R: r, Nth: n, Next: next})
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// servePage is what a captive portal sends: success, and nothing that was asked for.
func servePage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = w.Write([]byte("<html>please log in to this network</html>"))
}

// Close ends the hosts and waits for their handlers.
func (h *Hub) Close() {
	for _, s := range []*httptest.Server{h.main, h.storage, h.foreign} {
		s.CloseClientConnections()
		s.Close()
	}
}

// URL is the endpoint: the value for HF_ENDPOINT.
func (h *Hub) URL() string { return h.main.URL + h.Prefix }

// StorageURL is the base address of the storage host.
func (h *Hub) StorageURL() string { return h.storage.URL }

// ForeignURL is the base address of the host to which nobody should go.
func (h *Hub) ForeignURL() string { return h.foreign.URL }

// Env is the environment with which a program finds this Hub and a cache of its own, and does not wait long.
func (h *Hub) Env(home string) []string {
	return []string{"HF_ENDPOINT=" + h.URL(), "HF_HOME=" + home, "HF_HUB_DOWNLOAD_TIMEOUT=1", "HF_HUB_ETAG_TIMEOUT=2", "HF_TOKEN="}
}

// Requests gives what the hosts were sent so far.
func (h *Hub) Requests() []Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Request(nil), h.requests...)
}

// Served is the number of body bytes of a file that were sent so far, in whole or in ranges.
func (h *Hub) Served(path string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.served[path]
}

// Received is the number of bytes that the storage host was sent so far.
func (h *Hub) Received() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.received
}

// Forget empties Requests, Served and Received, and drops all faults.
func (h *Hub) Forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.requests, h.faults, h.received = nil, nil, 0
	clear(h.served)
}

// Leaks gives the requests in which a host other than the main one was sent the secret, in any header or in the
// address.
func (h *Hub) Leaks(secret string) []Request {
	var leaks []Request
	for _, r := range h.Requests() {
		if r.Host == Main {
			continue
		}
		text := r.Path + "?" + r.Query
		for _, vs := range r.Header {
			text += "\n" + strings.Join(vs, "\n")
		}
		if strings.Contains(text, secret) {
			leaks = append(leaks, r)
		}
	}
	return leaks
}

// note gives the number of the request. Headers are copied, for the server uses them again.
func (h *Hub) note(host Host, r *http.Request) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	via := ""
	if r.URL.IsAbs() {
		via = r.URL.String()
	}
	h.requests = append(h.requests, Request{host, r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Clone(), via})
	return len(h.requests)
}

// sign makes an address on the storage host.
func (h *Hub) sign(repo, digest, path string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serial++
	signature := "s" + strconv.Itoa(h.serial)
	left := h.Lifetime
	if left == 0 {
		left = 1 << 30
	}
	h.signed[signature] = left
	q := "?X-Expires=" + strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10) + "&X-Signature=" + signature
	return h.storage.URL + "/store/" + repo + "/" + digest + "/" + escape(path) + q
}

// redeem takes one request off a signature.
func (h *Hub) redeem(signature string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.signed[signature] <= 0 {
		return false
	}
	h.signed[signature]--
	return true
}

// expire makes every signed address invalid.
func (h *Hub) expire() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.signed)
}

// count is of bytes handed to the network; some may never arrive.
func (h *Hub) count(path string, n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.served[path] += n
}
