package worker

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/capi"
)

// logBook keeps the end of llama.cpp's log, passes it on to standard error, and reads the sizes of buffers out of it:
// the C interface does not tell them otherwise.
type logBook struct {
	mu      sync.Mutex
	lines   []string
	partial strings.Builder

	callback uintptr // what llama.cpp's libraries call
	marked   int     // lines seen before the running request
	buffers  []llamacpp.Buffer
}

const (
	keptLines  = 400
	shownLines = 12
	maxLogText = 1 << 16
)

// install makes this book llama.cpp's log. The callback lives as long as the process.
func (b *logBook) install(lib *capi.Library) {
	b.callback = purego.NewCallback(func(_ int32, text *byte, _ uintptr) uintptr {
		if text != nil {
			b.write(goString(text))
		}
		return 0
	})
	lib.SetLog(b.callback, 0)
}

// goString copies a C string of bounded length.
func goString(p *byte) string {
	n := 0
	for n < maxLogText && *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}

// write takes a piece of log: llama.cpp continues lines in later calls.
func (b *logBook) write(s string) {
	os.Stderr.WriteString(s)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.partial.WriteString(s)
	if !strings.Contains(s, "\n") {
		return
	}
	parts := strings.Split(b.partial.String(), "\n")
	b.partial.Reset()
	b.partial.WriteString(parts[len(parts)-1])
	for _, l := range parts[:len(parts)-1] {
		b.lines = append(b.lines, l)
		if buf, ok := readBuffer(l); ok {
			b.buffers = append(b.buffers, buf)
		}
	}
	if over := len(b.lines) - keptLines; over > 0 {
		b.lines = append(b.lines[:0], b.lines[over:]...)
		b.marked = max(0, b.marked-over)
	}
}

// bufferLine matches what llama.cpp says of its buffers (llama-model.cpp, llama-kv-cache.cpp, llama-context.cpp):
// "load_tensors:   CPU_Mapped model buffer size =   123.45 MiB".
var bufferLine = regexp.MustCompile(`(\S+)\s+(model|KV|RS|compute|output|LoRA) buffer size =\s+([0-9.]+) MiB`)

// readBuffer reads one line; sizes are rounded to a hundredth of a MiB there.
func readBuffer(line string) (llamacpp.Buffer, bool) {
	m := bufferLine.FindStringSubmatch(line)
	if m == nil {
		return llamacpp.Buffer{}, false
	}
	mib, err := strconv.ParseFloat(m[3], 64)
	if err != nil {
		return llamacpp.Buffer{}, false
	}
	return llamacpp.Buffer{Device: m[1], Use: m[2], Bytes: int64(mib * (1 << 20))}, true
}

// mark starts a request: earlier lines do not explain its failure.
func (b *logBook) mark() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.marked = len(b.lines)
}

// last are the final lines of the running request.
func (b *logBook) last() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	ls := b.lines[min(b.marked, len(b.lines)):]
	return append([]string(nil), ls[max(0, len(ls)-shownLines):]...)
}

// all are the lines so far, as many as are kept.
func (b *logBook) all() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.lines)
}

// takeBuffers returns the buffers announced since the last call.
func (b *logBook) takeBuffers() []llamacpp.Buffer {
	b.mu.Lock()
	defer b.mu.Unlock()
	bs := b.buffers
	b.buffers = nil
	return bs
}

// reason is the line of the running request's log that says why it failed, or otherwise the given words.
func (b *logBook) reason(otherwise string) string {
	lines := b.last()
	for _, mark := range []string{"tensor '", "error loading model: ", "error: "} {
		for _, l := range lines {
			if at := strings.Index(l, mark); at >= 0 && (mark != "tensor '" || strings.Contains(l, "invalid data")) {
				return strings.TrimSpace(strings.TrimPrefix(l[at:], "error loading model: "))
			}
		}
	}
	for i := len(lines) - 1; i >= 0; i-- {
		if strings.Contains(lines[i], "fail") || strings.Contains(lines[i], "exceed") {
			return strings.TrimSpace(lines[i])
		}
	}
	return otherwise
}

// faultOf tells a lack of memory from a file that llama.cpp does not accept.
func (b *logBook) faultOf() llamacpp.Fault {
	if llamacpp.SaysMemory(strings.Join(b.last(), "\n")) {
		return llamacpp.Memory
	}
	return llamacpp.Refused
}

// advice is what to do about a lack of memory; other refusals speak for themselves.
func (b *logBook) advice() string {
	if b.faultOf() == llamacpp.Memory {
		return llamacpp.MemoryHint
	}
	return ""
}
