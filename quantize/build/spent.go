package build

import "time"

// Spent is where the time of all workers went. Its sum is at most workers x wall time; what is missing they waited, for a core
// that the digests had or at the end for one another.
type Spent struct {
	Read   time.Duration // rows of the source, with what its views do to them
	Widen  time.Duration // to float32, rounding, the search for NaN
	Kernel time.Duration // blocks, or rows of a plain type, and their check
	Write  time.Duration
}

// Add puts the times of another run or worker on top.
func (s *Spent) Add(o Spent) {
	s.Read, s.Widen, s.Kernel, s.Write = s.Read+o.Read, s.Widen+o.Widen, s.Kernel+o.Kernel, s.Write+o.Write
}

// clock charges one worker's time, four times a slab: nothing beside the slab's work.
type clock struct {
	at    time.Time
	spent Spent
}

func (c *clock) start() { c.at = time.Now() }

// lap charges the time since the last lap.
func (c *clock) lap(to *time.Duration) {
	now := time.Now()
	*to += now.Sub(c.at)
	c.at = now
}

// report hands a worker's times in.
func (w *worker) report() {
	if w.Spent == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Spent.Add(w.spent)
}
