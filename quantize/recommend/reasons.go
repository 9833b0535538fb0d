package recommend

import (
	"fmt"

	"quern/quantize/machine"
)

// Reason is why one value of a choice is what it is.
type Reason struct {
	About string // type, memory, context, cache, batch, flash, threads, floor, tuned, budget; help: what to do where nothing fits
	Says  string
}

// String is the reason as a line.
func (r Reason) String() string { return r.About + ": " + r.Says }

func (c *Choice) say(about, format string, a ...any) {
	c.Reasons = append(c.Reasons, Reason{about, fmt.Sprintf(format, a...)})
}

// settle writes the choice down with the reasons for it and against the others.
func (c *Choice) settle(s *Shape, rows []Row, best int, set Setting, w Wish) {
	c.Runs, c.Rows, c.Setting, c.Row = true, rows, set, rows[best]
	c.Shipped = c.Speed.Generation
	if f := w.Calibration.Factor; f > 0 {
		c.Shipped /= f
	}
	for i := range rows {
		if i != best {
			rows[i].Reason = c.against(&rows[i], w)
		}
	}
	c.MaxContext = c.largestContext(s)
	c.why(s, w)
}

// against is why a row is not the choice, in a few words: its numbers stand beside it.
func (c *Choice) against(r *Row, w Wish) string {
	slower := r.Speed.Generation < c.Speed.Generation
	switch {
	case r.Fit == No:
		return Size(r.Memory.Total()-c.Budget) + " over the budget"
	case r.Fit == Tight && c.Fit == Fits:
		return fmt.Sprintf("%.0f %% of the budget", 100*float64(r.Memory.Total())/float64(c.Budget))
	case r.KLD > maxKLD:
		return "loses too much to be chosen unasked"
	case r.tooSlow(w) && !c.tooSlow(w):
		return "too slow"
	case !c.Runs:
		return "fits"
	case r.KLD <= c.KLD:
		return fmt.Sprintf("%.0f %% slower", 100*(1-r.Speed.Generation/c.Speed.Generation))
	case slower:
		return c.losing(r) + ", and slower"
	case r.Weights < c.Weights:
		return fmt.Sprintf("saves %s, %s", Size(c.Weights-r.Weights), c.losing(r))
	}
	return c.losing(r)
}

// lossless is a KL divergence that only 16 bits stay below: nothing can be said as a multiple of it.
const lossless = .0005

// losing compares the losses of a row and the choice.
func (c *Choice) losing(r *Row) string {
	if c.KLD < lossless {
		return "loses more"
	}
	return fmt.Sprintf("loses %.1f times as much", r.KLD/c.KLD)
}

// Neighbours are the rows above and below the choice, nil where it is the largest or the smallest.
func (c *Choice) Neighbours() (larger, smaller *Row) {
	for i := range c.Rows {
		switch r := &c.Rows[i]; {
		case r.Reason == "":
		case r.Weights > c.Weights:
			larger = r
		case smaller == nil:
			smaller = r
		}
	}
	return larger, smaller
}

func (c *Choice) why(s *Shape, w Wish) {
	set := c.Setting
	switch {
	case w.Type != "":
		c.say("type", "asked for")
	case len(c.Rows) == 1:
		c.say("type", "the only one")
	case c.tooSlow(w):
		c.say("type", "the fastest that fits")
	case c.KLD > usualFloor:
		c.say("type", "the best that fits; Q4_K_M has no room")
	case c.Weights == c.Rows[0].Weights:
		c.say("type", "the largest fits")
	case w.Prefer == "quality" || w.Prefer == "speed":
		c.say("type", "the best with weight on %s", w.Prefer)
	default:
		c.say("type", "the best balance of quality and speed")
	}
	tight := ""
	if c.Fit == Tight {
		tight = fmt.Sprintf(", %.0f %%: close other programs", 100*float64(c.Memory.Total())/float64(c.Budget))
	}
	c.say("memory", "%s of %s%s (%s)", Size(c.Memory.Total()), Size(c.Budget), tight, c.BudgetWhy)
	switch {
	case s.ContextLimit > 0 && set.Context > s.ContextLimit:
		c.say("context", "%d tokens as asked; the model was made for %d", set.Context, s.ContextLimit)
	case w.Context == 0 && set.Context == s.ContextLimit:
		c.say("context", "%d tokens, the model's own limit", set.Context)
	case c.MaxContext > set.Context:
		c.say("context", "%d tokens; %d would fit", set.Context, c.MaxContext)
	default:
		c.say("context", "%d tokens; more would not fit", set.Context)
	}
	if n := set.slots(); n > 1 {
		c.say("slots", "%d, each with that context", n)
	}
	if c.tooSlow(w) {
		floor := w.MinSpeed
		if floor == 0 {
			floor = defaultSpeed
		}
		c.say("floor", "no type that fits reaches %g tokens/s", floor)
	}
	if set.KV != "f16" {
		c.say("cache", "%s: with f16 it would not fit", set.KV)
	}
	c.say("batch", "-ub %d: %s", set.MicroBatch, c.whyMicroBatch(s))
	if saved := c.withoutFlash(s) - c.Memory.Total(); saved > 0 {
		c.say("flash", "flash attention on: saves %s", Size(saved))
	}
	c.say("threads", "%d, the fast cores: a slow one makes every step wait", set.Threads)
}

func (c *Choice) whyMicroBatch(s *Shape) string {
	set := c.Setting
	if set.MicroBatch < 512 {
		return "512 would not fit"
	}
	set.MicroBatch = 2048
	more := s.Needs(c.loaded(), set).Total()
	if more > c.Budget {
		return fmt.Sprintf("2048 would be %s over the budget", Size(more-c.Budget))
	}
	return fmt.Sprintf("2048 takes %s more and reads long prompts hardly faster; `quern tune` measures it", Size(more-c.Memory.Total()))
}

func (c *Choice) withoutFlash(s *Shape) int64 {
	set := c.Setting
	set.FlashAttn, set.Metal = false, false
	return s.Needs(c.loaded(), set).Total()
}

// systemReserve is what a Mac needs beside what is wired for Metal: with less it freezes.
const systemReserve = int64(4) << 30

// nothingFits takes the smallest type that would do, or the one asked for, and says what would help.
func (c *Choice) nothingFits(m *machine.Machine, s *Shape, cands []Candidate, w Wish) {
	set := c.Setting
	set.KV, set.MicroBatch = KVTypes[len(KVTypes)-1], 256
	if w.Context == 0 {
		set.Context = min(set.Context, leastContext)
	}
	rows := rate(m, s, cands, set, c.Budget, w)
	best := len(rows) - 1
	for i := range rows {
		if w.Type == "" && rows[i].KLD <= maxKLD || w.Type != "" && rows[i].Type == w.Type {
			best = i // candidates are sorted, the last is the smallest
		}
	}
	c.Rows, c.Row, c.Setting = rows, rows[best], set
	for i := range rows {
		if i != best {
			rows[i].Reason = c.against(&rows[i], w)
		}
	}
	need := c.Memory.Total()
	what := c.Type
	if w.Type == "" && len(rows) > 1 {
		what = "even " + c.Type + ", the smallest that is chosen unasked,"
	}
	c.say("type", "nothing fits: %s needs %s at %d tokens with a cache of %s, %s more than there is", what, Size(need), set.Context, set.KV, Size(need-c.Budget))
	c.say("budget", "%s: %s", Size(c.Budget), c.BudgetWhy)
	c.help(m, s, need, w)
}

// help says what would do, the nearest first.
func (c *Choice) help(m *machine.Machine, s *Shape, need int64, w Wish) {
	for _, r := range c.Rows {
		if r.Fit != No && r.Weights < c.Weights {
			c.say("help", "`--quant %s` fits in %s, and %s", r.Type, Size(r.Memory.Total()), c.losing(&r))
			break
		}
	}
	if most := c.largestContext(s); w.Context > 0 && c.fitsAt(s, most) {
		c.say("help", "`--context %d` fits with %s", most, c.Type)
	}
	if wired := need + metalReserve; m.Apple() && m.Memory > 0 && wired <= m.Memory-systemReserve {
		c.say("help", "`sudo sysctl iogpu.wired_limit_mb=%d` lets Metal have that much until the next start; %s are left to the system, which freezes below %s",
			(wired+1<<20-1)>>20, Size(m.Memory-wired), Size(systemReserve))
	}
	if gb := machine.Holding(need + metalReserve); gb > 0 {
		c.say("help", "a Mac with %d GB of memory holds it", gb)
	}
	smallest := c.Rows[len(c.Rows)-1]
	for _, r := range c.Rows {
		if r.Type == "Q4_K_M" {
			smallest = r
		}
	}
	if room := c.Budget - (smallest.Memory.Total() - smallest.Memory.Weights); room > 0 && smallest.Weights > 0 {
		if fit := float64(s.Params) * float64(room) / float64(smallest.Weights) / 1e9; fit >= .1 && fit < .8*float64(s.Params)/1e9 {
			c.say("help", "a smaller model of the family: up to some %.1fB parameters fit as %s", fit, smallest.Type)
		}
	}
}

// Size is a number of bytes as people read it, in powers of ten as files are counted.
func Size(n int64) string {
	switch f := float64(n); {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case f < 1e6:
		return fmt.Sprintf("%.0f kB", f/1e3)
	case f < 1e7:
		return fmt.Sprintf("%.1f MB", f/1e6)
	case f < 1e9:
		return fmt.Sprintf("%.0f MB", f/1e6)
	case f < 1e11:
		return fmt.Sprintf("%.1f GB", f/1e9)
	}
	return fmt.Sprintf("%.0f GB", float64(n)/1e9)
}
