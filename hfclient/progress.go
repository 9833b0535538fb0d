package hfclient

import (
	"sync"
	"time"
)

// State is where a file stands.
type State string

// The states of a file in the order in which it may pass them.
const (
	Waiting  State = "waiting"  // another process downloads it
	Checking State = "checking" // the cache has it; its digest is being computed
	Fetching State = "fetching"
	Done     State = "done" // whole and proven
)

// Progress is a moment of a download. Bytes that an earlier run left, or that the cache had, count as done.
type Progress struct {
	File       string        // the file that moved
	State      State         // of that file
	Done, Size int64         // bytes of that file
	TotalDone  int64         // bytes of all files
	TotalSize  int64         //
	FilesDone  int           // files that are whole
	Files      int           // files in all
	Rate       float64       // bytes from the network per second, smoothed over the last seconds
	Left       time.Duration // estimate of the time left; 0 while unknown
}

const (
	tick   = 100 * time.Millisecond // between two reports of one download
	smooth = 0.05                   // weight of the newest tick in Rate
)

// meter counts. Work never waits for a screen: movements only count, and a ticker reports them.
type meter struct {
	report func(Progress)
	mu     sync.Mutex // report is called with it held, so that calls come one at a time
	total  Progress
	files  map[string]*fileMeter
	moved  []*fileMeter
	bytes  int64 // from the network since the last tick
	quit   chan struct{}
	ended  chan struct{}
}

type fileMeter struct {
	m          *meter
	name       string
	state      State
	done, size int64
	moved      bool
}

// newMeter starts no goroutine if nobody listens.
func newMeter(report func(Progress), files []File) *meter {
	m := &meter{report: report, files: map[string]*fileMeter{}, quit: make(chan struct{}), ended: make(chan struct{})}
	for _, f := range files {
		m.files[f.Path] = &fileMeter{m: m, name: f.Path, size: f.Size}
		m.total.TotalSize += f.Size
		m.total.Files++
	}
	if report == nil {
		close(m.ended)
		return m
	}
	go m.run()
	return m
}

// run ends before the last report is asked for, so that none comes after a pull has returned.
func (m *meter) run() {
	defer close(m.ended)
	t := time.NewTicker(tick)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-m.quit:
			return
		case now := <-t.C:
			m.flush(now.Sub(last))
			last = now
		}
	}
}

// flush smooths the rate over some twenty ticks: long enough to be read, short enough to follow a change.
func (m *meter) flush(took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if took > 0 && (m.bytes > 0 || m.total.Rate > 0) {
		now := float64(m.bytes) / took.Seconds()
		if m.total.Rate == 0 {
			m.total.Rate = now
		}
		m.total.Rate += smooth * (now - m.total.Rate)
		m.bytes = 0
		m.total.Left = 0
		if m.total.Rate >= 1 {
			m.total.Left = time.Duration(float64(m.total.TotalSize-m.total.TotalDone) / m.total.Rate * float64(time.Second))
		}
	}
	for _, f := range m.moved {
		f.moved = false
		m.tell(f)
	}
	m.moved = m.moved[:0]
}

// tell is called with m.mu held.
func (m *meter) tell(f *fileMeter) {
	if m.report == nil {
		return
	}
	p := m.total
	p.File, p.State, p.Done, p.Size = f.name, f.state, f.done, f.size
	m.report(p)
}

// stop waits for a report that is under way.
func (m *meter) stop() {
	close(m.quit)
	<-m.ended
}

// enter changes the state and sets what is done so far.
func (f *fileMeter) enter(s State, done int64) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.m.total.TotalDone += done - f.done
	f.done = done
	if s == Done && f.state != Done {
		f.m.total.FilesDone++
	}
	f.state = s
	f.m.tell(f)
}

// add counts n bytes; network says that they were fetched.
func (f *fileMeter) add(n int64, network bool) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.done += n
	f.m.total.TotalDone += n
	if network {
		f.m.bytes += n
	}
	if !f.moved && f.m.report != nil {
		f.moved = true
		f.m.moved = append(f.m.moved, f)
	}
}
