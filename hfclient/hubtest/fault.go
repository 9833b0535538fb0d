package hubtest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Fault makes some requests go wrong.
type Fault struct {
	On     Host   // which host; default Storage
	Path   string // pattern (path.Match) for the last element, or for the whole path if it holds a "/"; default all
	Method string // default all
	Nth    int    // the first matching request that goes wrong, from 1; default 1
	Times  int    // how many go wrong from then on; default 1, negative: all
	Do     Action
}

// Exchange is a request on its way through a fault.
type Exchange struct {
	Hub  *Hub
	W    http.ResponseWriter
	R    *http.Request
	Nth  int          // number of the request since the Hub's start
	Next http.Handler // what would have answered
}

// Action answers in place of the Hub.
type Action func(*Exchange)

type fault struct {
	Fault
	seen int
}

// Fault adds a fault. Of several that match, the first added and not yet used up acts.
func (h *Hub) Fault(f Fault) {
	if f.On == "" {
		f.On = Storage
	}
	f.Nth = max(f.Nth, 1)
	if f.Times == 0 {
		f.Times = 1
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = append(h.faults, &fault{Fault: f})
}

// match finds the fault for a request and counts it.
func (h *Hub) match(host Host, r *http.Request) *fault {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.faults {
		if f.On != host || f.Method != "" && f.Method != r.Method || !f.matches(r.URL.Path) {
			continue
		}
		f.seen++
		if f.seen >= f.Nth && (f.Times < 0 || f.seen < f.Nth+f.Times) {
			return f
		}
	}
	return nil
}

// matches compares unescaped paths, as a reader of a test would write them.
func (f *fault) matches(p string) bool {
	if f.Path == "" {
		return true
	}
	if !strings.Contains(f.Path, "/") {
		p = path.Base(p)
	}
	ok, _ := path.Match(f.Path, p)
	return ok
}

// Status answers with a status and headers: "Retry-After", "0", ...
func Status(code int, headers ...string) Action {
	return func(x *Exchange) {
		for i := 0; i+1 < len(headers); i += 2 {
			x.W.Header().Set(headers[i], headers[i+1])
		}
		http.Error(x.W, http.StatusText(code), code)
	}
}

// Cut closes the connection after n bytes of the body.
func Cut(n int64) Action {
	return func(x *Exchange) {
		x.Next.ServeHTTP(&limited{ResponseWriter: x.W, left: n, then: func() { panic(http.ErrAbortHandler) }}, x.R)
	}
}

// Stall sends n bytes of the body, then nothing until the client leaves.
func Stall(n int64) Action {
	return func(x *Exchange) {
		x.Next.ServeHTTP(&limited{ResponseWriter: x.W, left: n, then: func() {
			flush(x.W)
			<-x.R.Context().Done()
			panic(http.ErrAbortHandler)
		}}, x.R)
	}
}

// Hang sends nothing, not even a head, until the client leaves. It reads what it is sent: a server sees only then who leaves.
func Hang() Action {
	return func(x *Exchange) {
		_, _ = io.Copy(io.Discard, x.R.Body)
		<-x.R.Context().Done()
		panic(http.ErrAbortHandler)
	}
}

// Drip sends the body slowly, so many bytes a second.
func Drip(perSecond int) Action {
	return func(x *Exchange) {
		x.Next.ServeHTTP(&dripping{ResponseWriter: x.W, x: x, chunk: max(1, perSecond/50)}, x.R)
	}
}

// Flip inverts the byte at off of what is sent.
func Flip(off int64) Action {
	return func(x *Exchange) { x.Next.ServeHTTP(&flipping{ResponseWriter: x.W, at: off}, x.R) }
}

// IgnoreRange answers with the whole file and status 200.
func IgnoreRange() Action {
	return func(x *Exchange) {
		x.R.Header.Del("Range")
		x.Next.ServeHTTP(x.W, x.R)
	}
}

// Lie replaces the Content-Range of a partial answer.
func Lie(contentRange string) Action {
	return func(x *Exchange) {
		x.Next.ServeHTTP(&heading{ResponseWriter: x.W, change: func(h http.Header) { h.Set("Content-Range", contentRange) }}, x.R)
	}
}

// Unsatisfiable answers 416 and tells size as that of the file.
func Unsatisfiable(size int64) Action {
	return Status(http.StatusRequestedRangeNotSatisfiable, "Content-Range", fmt.Sprintf("bytes */%d", size))
}

// Expire refuses every signed address that was handed out so far, this one too.
func Expire() Action {
	return func(x *Exchange) {
		x.Hub.expire()
		x.Next.ServeHTTP(x.W, x.R)
	}
}

// Gzip compresses the body whatever was asked for.
func Gzip() Action {
	return func(x *Exchange) {
		z := &zipping{ResponseWriter: x.W}
		x.Next.ServeHTTP(z, x.R)
		z.finish()
	}
}

// Redirect leads elsewhere; "loop" leads to the same address again, "foreign" to the host where nobody should go.
func Redirect(to string) Action {
	return func(x *Exchange) {
		at := to
		switch to {
		case "loop":
			at = x.R.URL.RequestURI()
		case "foreign":
			at = x.Hub.ForeignURL() + x.R.URL.RequestURI()
		}
		x.W.Header().Set("Location", at)
		x.W.WriteHeader(http.StatusFound)
	}
}

// Longer adds n bytes to the end of a body without a length.
func Longer(n int) Action {
	return func(x *Exchange) {
		h := &heading{ResponseWriter: x.W, change: func(h http.Header) { h.Del("Content-Length") }}
		x.Next.ServeHTTP(h, x.R)
		_, _ = x.W.Write(bytes.Repeat([]byte{'x'}, n))
	}
}

// Body answers with this body, whatever was asked for.
func Body(contentType, body string, headers ...string) Action {
	return func(x *Exchange) {
		for i := 0; i+1 < len(headers); i += 2 {
			x.W.Header().Set(headers[i], headers[i+1])
		}
		x.W.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(x.W, body)
	}
}

// Wait holds the answer back until the channel is closed or the client leaves.
func Wait(ch <-chan struct{}) Action {
	return func(x *Exchange) {
		select {
		case <-ch:
			x.Next.ServeHTTP(x.W, x.R)
		case <-x.R.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
}

// flush sends what was written so far, so that a cut is where the test wants it and not where a buffer ended.
func flush(w http.ResponseWriter) {
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
}

type limited struct {
	http.ResponseWriter
	left int64
	then func()
	done sync.Once
}

// Write implements http.ResponseWriter.
func (l *limited) Write(p []byte) (int, error) {
	if int64(len(p)) < l.left {
		l.left -= int64(len(p))
		return l.ResponseWriter.Write(p)
	}
	n, _ := l.ResponseWriter.Write(p[:l.left])
	flush(l.ResponseWriter)
	l.done.Do(l.then)
	return n, io.ErrClosedPipe
}

type dripping struct {
	http.ResponseWriter
	x     *Exchange
	chunk int
}

// Write implements http.ResponseWriter.
func (d *dripping) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		m, err := d.ResponseWriter.Write(p[n:min(n+d.chunk, len(p))])
		if n += m; err != nil {
			return n, err
		}
		flush(d.ResponseWriter)
		select {
		case <-d.x.R.Context().Done():
			return n, d.x.R.Context().Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	return len(p), nil
}

type flipping struct {
	http.ResponseWriter
	at, sent int64
}

// Write implements http.ResponseWriter.
func (f *flipping) Write(p []byte) (int, error) {
	if i := f.at - f.sent; i >= 0 && i < int64(len(p)) {
		p = bytes.Clone(p)
		p[i] ^= 0xff
	}
	f.sent += int64(len(p))
	return f.ResponseWriter.Write(p)
}

type heading struct {
	http.ResponseWriter
	change func(http.Header)
}

// WriteHeader implements http.ResponseWriter.
func (h *heading) WriteHeader(status int) {
	h.change(h.Header())
	h.ResponseWriter.WriteHeader(status)
}

type zipping struct {
	http.ResponseWriter
	z *gzip.Writer
}

// WriteHeader implements http.ResponseWriter.
func (z *zipping) WriteHeader(status int) {
	z.Header().Del("Content-Length")
	z.Header().Set("Content-Encoding", "gzip")
	z.ResponseWriter.WriteHeader(status)
	z.z = gzip.NewWriter(z.ResponseWriter)
}

// Write implements http.ResponseWriter.
func (z *zipping) Write(p []byte) (int, error) {
	if z.z == nil {
		z.WriteHeader(http.StatusOK)
	}
	return z.z.Write(p)
}

// finish writes the end of the compressed stream; a body that was never begun has none.
func (z *zipping) finish() {
	if z.z != nil {
		_ = z.z.Close()
	}
}

// ParseFault reads a fault from words, for scripts:
//
//	[hub|storage|elsewhere] [path=PATTERN] [method=GET] [nth=N] [times=N] ACTION
//
// where ACTION is one of cut=N stall=N hang drip=N flip=N status=N[,Header,Value...] ignore-range lie=CONTENT-RANGE
// unsatisfiable=N expire gzip redirect=loop|foreign|ADDRESS longer=N body=TEXT.
func ParseFault(words []string) (Fault, error) {
	var f Fault
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		n, nerr := strconv.ParseInt(value, 10, 64)
		switch key {
		case string(Main), string(Storage), string(Foreign):
			f.On = Host(key)
		case "path":
			f.Path = value
		case "method":
			f.Method = value
		case "nth", "times":
			if nerr != nil {
				return f, fmt.Errorf("%s: not a number", w)
			}
			if key == "nth" {
				f.Nth = int(n)
			} else {
				f.Times = int(n)
			}
		default:
			if f.Do = parseAction(key, value, n, nerr); f.Do == nil {
				return f, fmt.Errorf("%s: unknown word of a fault", w)
			}
		}
	}
	if f.Do == nil {
		return f, fmt.Errorf("fault without an action: %q", words)
	}
	return f, nil
}

// parseAction is nil for what it does not know.
func parseAction(key, value string, n int64, nerr error) Action {
	switch key {
	case "hang":
		return Hang()
	case "ignore-range":
		return IgnoreRange()
	case "lie":
		return Lie(value)
	case "expire":
		return Expire()
	case "gzip":
		return Gzip()
	case "redirect":
		return Redirect(value)
	case "body":
		return Body("application/json", value)
	case "status":
		parts := strings.Split(value, ",")
		if code, err := strconv.Atoi(parts[0]); err == nil {
			return Status(code, parts[1:]...)
		}
		return nil
	}
	numbered := map[string]func(int64) Action{
		"cut": Cut, "stall": Stall, "flip": Flip, "unsatisfiable": Unsatisfiable,
		"drip": func(n int64) Action { return Drip(int(n)) }, "longer": func(n int64) Action { return Longer(int(n)) },
	}
	if make, ok := numbered[key]; ok && nerr == nil {
		return make(n)
	}
	return nil
}
