package llamacpp

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
)

// tail is a writer that keeps the last bytes written to it: a child's or tool's log in bounded memory.
type tail struct {
	mu  sync.Mutex
	buf []byte
	max int
}

// keptLog is how much of a log is kept, and shownLines how many of its last lines an error carries.
const (
	keptLog    = 64 << 10
	shownLines = 12
)

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.max == 0 {
		t.max = keptLog
	}
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// crash matches how Go's runtime begins its report of a signal. What follows are registers, which bury llama.cpp's words.
var crash = regexp.MustCompile(`^(SIG[A-Z]+: |fatal error: |panic: |unexpected fault address)`)

// lines are the last lines that are not empty, up to where Go's runtime reports a crash.
func (t *tail) lines() []string {
	var kept []string
	for _, l := range strings.Split(t.String(), "\n") {
		if l = strings.TrimRight(l, " \r\t"); l == "" {
			continue
		}
		kept = append(kept, l)
		if crash.MatchString(l) {
			break
		}
	}
	return kept[max(0, len(kept)-shownLines):]
}

// childLog is a tail that also hands on whole lines. exec copies one stream into it, so Write needs no lock of its own
// for the line being gathered.
type childLog struct {
	tail
	line    func(string)
	partial []byte
}

func (l *childLog) Write(p []byte) (int, error) {
	n, err := l.tail.Write(p)
	if l.line == nil {
		return n, err
	}
	l.partial = append(l.partial, p...)
	for {
		i := bytes.IndexByte(l.partial, '\n')
		if i < 0 {
			break
		}
		l.line(string(l.partial[:i]))
		l.partial = l.partial[i+1:]
	}
	if len(l.partial) > keptLog {
		l.partial = l.partial[:0]
	}
	return n, err
}
