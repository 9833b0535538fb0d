package hubtest

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// serveData answers with a file or with the one range that was asked for.
func (h *Hub) serveData(w http.ResponseWriter, r *http.Request, f *file) {
	lo, hi := int64(0), f.size
	status := http.StatusOK
	if spec, ok := strings.CutPrefix(r.Header.Get("Range"), "bytes="); ok {
		if lo, hi, ok = parseRange(spec, f.size); !ok {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes */%d", f.size))
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return
		}
		status = http.StatusPartialContent
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", lo, hi-1, f.size))
	}
	w.Header().Set("Accept-Ranges", "bytes")
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(hi-lo, 10))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	src := f.open()
	if _, err := src.Seek(lo, io.SeekStart); err != nil {
		return
	}
	buf := make([]byte, 64<<10)
	for left := hi - lo; left > 0; {
		n, err := src.Read(buf[:min(left, int64(len(buf)))])
		if n > 0 {
			m, werr := w.Write(buf[:n])
			h.count(f.path, int64(m))
			if werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
		left -= int64(n)
	}
}

// parseRange reads `a-b` or `a-` within size. hi is one past the last byte.
func parseRange(spec string, size int64) (lo, hi int64, ok bool) {
	from, to, found := strings.Cut(spec, "-")
	lo, err := strconv.ParseInt(from, 10, 64)
	if !found || err != nil || lo < 0 || lo >= size {
		return 0, 0, false
	}
	if to == "" {
		return lo, size, true
	}
	last, err := strconv.ParseInt(to, 10, 64)
	if err != nil || last < lo {
		return 0, 0, false
	}
	return lo, min(last+1, size), true
}
