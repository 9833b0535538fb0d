package recommend

import (
	"fmt"
	"math"
	"slices"

	"quern/quantize/machine"
)

// Candidate is a type that could be made of the model, with its exact sizes.
type Candidate struct {
	Type        string
	Weights     int64 // bytes of all tensors
	Loaded      int64 // bytes of the tensors that are read when the model runs; 0: all
	ActiveBytes int64 // bytes that a token reads
	BPW         float64
}

func (c Candidate) loaded() int64 {
	if c.Loaded > 0 {
		return c.Loaded
	}
	return c.Weights
}

// Wish is what the user asks for. Zero values mean: decide.
type Wish struct {
	Context  int64
	Slots    int64
	Prefer   string  // quality, balanced, speed
	MinSpeed float64 // tokens a second
	Type     string  // fixed by the user
	Imatrix  bool    // an importance matrix will be used
	Factor   float64 // calibration of this machine, see Predict
}

// Fit says how a need stands to the budget.
type Fit string

// The fits: within 85 % of the budget, within it, beyond it.
const (
	Fits  Fit = "fits"
	Tight Fit = "tight"
	No    Fit = "no"
)

// Row is a candidate under the chosen setting.
type Row struct {
	Candidate
	Memory Memory
	Fit    Fit
	Speed  Speed
	KLD    float64
	Reason string // why it is not the choice; empty for the choice
}

// Choice is the recommendation with its reasons.
type Choice struct {
	Row
	Setting    Setting
	Budget     int64
	BudgetWhy  string
	MaxContext int64 // the largest that fits with the chosen type
	Reasons    []string
	Rows       []Row // all candidates, largest first
	RunnerUp   string
	Runs       bool // false: nothing fits; the row is the smallest and the reasons say what would help

	Shipped float64 // tokens a second without this machine's calibration
	prefer  string
}

const (
	fitShare     = .85 // of the budget: below it fits, above it tight
	maxKLD       = .12 // about Q3_K_M: nothing worse is chosen without being asked for
	defaultSpeed = 7.  // tokens a second, about the pace of reading aloud
	osReserve    = int64(2) << 30
)

// Budget is the memory that a model may use on the machine, and how it comes about.
func Budget(m *machine.Machine) (int64, string) {
	if m.Apple() && m.WorkingSet > 0 {
		b := m.WorkingSet - 1<<30
		why := fmt.Sprintf("Metal working set %s less 1 GiB", gib(m.WorkingSet))
		if free := m.Available - osReserve; m.Available > 0 && free < b {
			return max(free, 0), fmt.Sprintf("%s available less %s for the system", gib(m.Available), gib(osReserve))
		}
		return b, why
	}
	free := m.Available
	if free == 0 {
		free = m.Memory
	}
	reserve := min(osReserve, free/8)
	return free - reserve, fmt.Sprintf("%s available less %s for the system", gib(free), gib(reserve))
}

// Choose picks type and setting. Candidates may come in any order; at least one is needed.
func Choose(m *machine.Machine, s *Shape, cands []Candidate, w Wish) (*Choice, error) {
	if len(cands) == 0 {
		return nil, fmt.Errorf("no type to choose from")
	}
	cands = slices.Clone(cands)
	slices.SortStableFunc(cands, func(a, b Candidate) int { return int(b.Weights/1024 - a.Weights/1024) })
	c := &Choice{prefer: w.Prefer}
	c.Budget, c.BudgetWhy = Budget(m)
	c.Setting = firstSetting(m, s, w)
	minSpeed := w.MinSpeed
	if minSpeed == 0 {
		minSpeed = defaultSpeed
	}
	for _, set := range settings(c.Setting, w) {
		rows := rate(m, s, cands, set, c.Budget, w)
		if best := pick(rows, minSpeed, w); best >= 0 {
			c.settle(s, rows, best, set, minSpeed, w)
			return c, nil
		}
	}
	c.nothingFits(m, s, cands, w)
	return c, nil
}

// firstSetting is what the user wants, or 8192 tokens of context or the model's limit.
func firstSetting(m *machine.Machine, s *Shape, w Wish) Setting {
	ctx := w.Context
	if ctx == 0 {
		ctx = 8192
		if s.ContextLimit > 0 {
			ctx = min(ctx, s.ContextLimit)
		}
	}
	return Setting{Context: ctx, Slots: max(w.Slots, 1), Unified: true, KV: "f16", MicroBatch: 512, Batch: 2048,
		Threads: m.FastCores(), FlashAttn: true, Metal: m.Metal}
}

// settings are tried in order: the cache type is given up before context, and context only when the user did not fix it.
func settings(first Setting, w Wish) []Setting {
	var all []Setting
	for ctx := first.Context; ; ctx /= 2 {
		for _, kv := range KVTypes {
			for _, ub := range []int64{512, 256} {
				set := first
				set.Context, set.KV, set.MicroBatch = ctx, kv, ub
				all = append(all, set)
			}
		}
		if w.Context != 0 || ctx/2 < 4096 {
			return all
		}
	}
}

func rate(m *machine.Machine, s *Shape, cands []Candidate, set Setting, budget int64, w Wish) []Row {
	rows := make([]Row, 0, len(cands))
	beside := s.Needs(0, set) // the same for all types, and dear: a graph is laid out for it
	for _, c := range cands {
		r := Row{Candidate: c, Memory: beside, Fit: No}
		r.Memory.Weights = c.loaded()
		r.KLD, _ = KLD(c.Type, w.Imatrix)
		r.Speed = Predict(m, s, c.Weights, c.ActiveBytes, c.Type, set, w.Factor)
		switch n := r.Memory.Total(); {
		case float64(n) <= fitShare*float64(budget):
			r.Fit = Fits
		case n <= budget:
			r.Fit = Tight
		}
		rows = append(rows, r)
	}
	return rows
}

// weight of speed against quality, by preference. A factor of two in speed counts as much as ln 2 x weight of -ln KLD.
var speedWeight = map[string]float64{"quality": .5, "balanced": 2, "": 2, "speed": 6}

// enough is the speed beyond which more is not felt while reading.
const enough = 40.

// usualFloor is the KL divergence of Q4_K_M: a type that loses more is chosen only where Q4_K_M has no room at all.
const usualFloor = .032

// pick is the index of the best row that fits and is fast enough, or -1. A tight row is taken only where it keeps the
// quality of Q4_K_M and no comfortable one does, or where nothing is comfortable.
func pick(rows []Row, minSpeed float64, w Wish) int {
	best, class, score := -1, 0, 0.
	for i, r := range rows {
		if r.Fit == No || w.Type == "" && (r.KLD > maxKLD || r.Speed.Generation < minSpeed) || w.Type != "" && r.Type != w.Type {
			continue
		}
		cl, v := r.class(), -math.Log(r.KLD)+speedWeight[w.Prefer]*math.Log(math.Min(r.Speed.Generation, enough))
		if cl > class || cl == class && v > score {
			best, class, score = i, cl, v
		}
	}
	return best
}

// class orders rows before their score: comfortable and good, tight and good, comfortable, tight.
func (r *Row) class() int {
	switch good := r.KLD <= usualFloor; {
	case good && r.Fit == Fits:
		return 4
	case good:
		return 3
	case r.Fit == Fits:
		return 2
	}
	return 1
}

// settle writes the choice down with the reasons for it and against its neighbours.
func (c *Choice) settle(s *Shape, rows []Row, best int, set Setting, minSpeed float64, w Wish) {
	c.Runs, c.Rows, c.Setting, c.Row = true, rows, set, rows[best]
	c.Shipped = c.Speed.Generation
	if w.Factor > 0 {
		c.Shipped /= w.Factor
	}
	for i := range rows {
		r := &rows[i]
		switch {
		case i == best:
		case r.Fit == No:
			r.Reason = fmt.Sprintf("%s over the budget", size(r.Memory.Total()-c.Budget))
		case r.Fit == Tight && c.Fit == Fits:
			r.Reason = fmt.Sprintf("tight: %.0f %% of the budget", 100*float64(r.Memory.Total())/float64(c.Budget))
		case r.KLD > maxKLD:
			r.Reason = fmt.Sprintf("loses too much: KL divergence %.2g, at most %.2g unless asked for", r.KLD, maxKLD)
		case r.Speed.Generation < minSpeed:
			r.Reason = fmt.Sprintf("%.1f tokens a second, under the floor of %g", r.Speed.Generation, minSpeed)
		case r.Weights > c.Weights:
			r.Reason = fmt.Sprintf("slower: %.0f against %.0f tokens a second", r.Speed.Generation, c.Speed.Generation)
		default:
			r.Reason = fmt.Sprintf("would save %s and lose quality: KL divergence %.2g against %.2g", size(c.Weights-r.Weights), r.KLD, c.KLD)
		}
	}
	if best+1 < len(rows) {
		c.RunnerUp = rows[best+1].Type
	}
	c.MaxContext = c.largestContext(s)
	c.why(s, w)
}

func (c *Choice) why(s *Shape, w Wish) {
	add := func(format string, a ...any) { c.Reasons = append(c.Reasons, fmt.Sprintf(format, a...)) }
	switch {
	case w.Type != "":
		add("type %s: asked for", c.Type)
	case c.Weights == c.Rows[0].Weights:
		add("type %s: the largest type fits", c.Type)
	default:
		add("type %s: the best balance of quality and speed that fits", c.Type)
	}
	add("memory %s of %s (%s)", size(c.Memory.Total()), size(c.Budget), c.BudgetWhy)
	switch {
	case w.Context != 0:
		add("context %d: asked for", c.Setting.Context)
	case c.Setting.Context == s.ContextLimit:
		add("context %d: the model's own limit", c.Setting.Context)
	default:
		add("context %d: enough for most work; %d would fit", c.Setting.Context, c.MaxContext)
	}
	if c.Setting.KV != "f16" {
		add("cache %s: with f16 it would not fit", c.Setting.KV)
	}
	add("micro-batch %d: %s", c.Setting.MicroBatch, c.whyMicroBatch(s))
	add("flash attention on: without it the scores of a micro-batch would take %s more", size(max(0, c.withoutFlash(s)-c.Memory.Total())))
	add("threads %d: the fast cores only, a slow one makes every step wait", c.Setting.Threads)
}

func (c *Choice) whyMicroBatch(s *Shape) string {
	set := c.Setting
	if set.MicroBatch < 512 {
		return "with 512 it would not fit"
	}
	set.MicroBatch = 2048
	more := s.Needs(c.loaded(), set).Total()
	if more > c.Budget {
		return fmt.Sprintf("2048 would be %s over the budget", size(more-c.Budget))
	}
	return fmt.Sprintf("2048 reads long prompts hardly faster and takes %s more; `quern tune` measures it", size(more-c.Memory.Total()))
}

func (c *Choice) withoutFlash(s *Shape) int64 {
	set := c.Setting
	set.FlashAttn, set.Metal = false, false
	return s.Needs(c.loaded(), set).Total()
}

// largestContext is the largest multiple of 1024 tokens, up to the model's limit, with which the chosen type fits.
func (c *Choice) largestContext(s *Shape) int64 {
	limit := s.ContextLimit
	if limit == 0 {
		limit = 1 << 20
	}
	fits := func(ctx int64) bool {
		set := c.Setting
		set.Context = ctx
		return s.Needs(c.loaded(), set).Total() <= int64(fitShare*float64(c.Budget))
	}
	if fits(limit) {
		return limit
	}
	lo, hi := int64(0), limit/1024
	for lo < hi {
		mid := (lo + hi + 1) / 2
		if fits(mid * 1024) {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	return max(lo*1024, min(c.Setting.Context, limit))
}

// nothingFits explains what would: the smallest need, and the working set that would carry it.
func (c *Choice) nothingFits(m *machine.Machine, s *Shape, cands []Candidate, w Wish) {
	set := c.Setting
	set.KV, set.MicroBatch = "q8_0", 256
	if w.Context == 0 {
		set.Context = min(set.Context, 4096)
	}
	rows := rate(m, s, cands, set, c.Budget, w)
	best := -1
	for i, r := range rows {
		if w.Type == "" && r.KLD > maxKLD || w.Type != "" && r.Type != w.Type {
			continue
		}
		best = i // candidates are sorted, the last is the smallest
	}
	if best < 0 {
		best = len(rows) - 1
	}
	c.Rows, c.Row, c.Setting = rows, rows[best], set
	need := c.Memory.Total()
	if need > c.Budget {
		c.Reasons = append(c.Reasons, fmt.Sprintf("%s needs %s at context %d, %s more than the budget of %s (%s)",
			c.Type, size(need), set.Context, size(need-c.Budget), size(c.Budget), c.BudgetWhy))
		if m.Apple() {
			c.Reasons = append(c.Reasons, fmt.Sprintf("`sudo sysctl iogpu.wired_limit_mb=%d` would let Metal use that much; leave the system at least 4 GiB, it freezes otherwise",
				(need+1<<30)>>20))
		}
		c.Reasons = append(c.Reasons, "a smaller model of the same family, or a type below Q3_K_M by name with an imatrix, is the way out")
		return
	}
	c.Runs = c.Speed.Generation > 0
	c.Reasons = append(c.Reasons, fmt.Sprintf("%s fits but is expected to generate only %.1f tokens a second; `--min-speed` sets the floor",
		c.Type, c.Speed.Generation))
}

func gib(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }

// size is a difference or a sum as people read it.
func size(n int64) string {
	switch {
	case n < 1e6:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	case n < 1<<30:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return gib(n)
}
