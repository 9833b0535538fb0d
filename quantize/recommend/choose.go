package recommend

import (
	"cmp"
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

	Calibration Calibration // by this machine's own records
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
	MaxContext int64 // the largest that fits with the chosen type; 0: none does
	Reasons    []Reason
	Rows       []Row // all candidates, largest first
	Runs       bool  // false: nothing fits; the row is the smallest and the reasons say what would help

	Shipped float64 // tokens a second without this machine's calibration
	prefer  string
}

const (
	fitShare     = .85 // of the budget: below it fits, above it tight
	maxKLD       = .12 // about Q3_K_M: nothing worse is chosen without being asked for
	defaultSpeed = 7.  // tokens a second, about the pace of reading aloud
	osReserve    = int64(2) << 30
	metalReserve = int64(1) << 30 // of Metal's working set, for what else draws
)

// Budget is the memory that a model may use on the machine, and how it comes about.
func Budget(m *machine.Machine) (int64, string) {
	if m.Apple() && m.WorkingSet > 0 {
		b := m.WorkingSet - metalReserve
		if free := m.Available - osReserve; m.Available > 0 && free < b {
			return max(free, 0), fmt.Sprintf("%s available less %s for the system", Size(m.Available), Size(osReserve))
		}
		return b, fmt.Sprintf("Metal's working set of %s less %s", Size(m.WorkingSet), Size(metalReserve))
	}
	free := m.Available
	if free == 0 {
		free = m.Memory
	}
	reserve := min(osReserve, free/8)
	return free - reserve, fmt.Sprintf("%s available less %s for the system", Size(free), Size(reserve))
}

// Choose picks type and setting. Candidates may come in any order; at least one is needed.
//
// The order of what is given up, which TestMoreMemory holds: a type that keeps the quality of Q4_K_M is looked for first, at the wanted
// context, then with an 8-bit cache, then at shorter contexts where the user named none. Only then types that lose more are
// looked at in the same way, and last those that are slower than wanted.
func Choose(m *machine.Machine, s *Shape, cands []Candidate, w Wish) (*Choice, error) {
	if len(cands) == 0 {
		return nil, fmt.Errorf("no type to choose from")
	}
	cands = slices.Clone(cands)
	slices.SortStableFunc(cands, func(a, b Candidate) int { return cmp.Compare(b.Weights, a.Weights) })
	c := &Choice{prefer: w.Prefer}
	c.Budget, c.BudgetWhy = Budget(m)
	c.Setting = firstSetting(m, s, w)
	all := settings(c.Setting, w)
	rated := make([][]Row, len(all))           // when they are first looked at
	for _, slow := range []bool{false, true} { // slower than wanted is better than nothing, and is said
		for _, lossy := range []bool{false, true} {
			for i, set := range all {
				if rated[i] == nil {
					rated[i] = rate(m, s, cands, set, c.Budget, w)
				}
				if best := pick(rated[i], w, lossy, slow); best >= 0 {
					c.settle(s, rated[i], best, set, w)
					return c, nil
				}
			}
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

// leastContext is the shortest context that is chosen unasked.
const leastContext = 4096

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
		if w.Context != 0 || ctx/2 < leastContext {
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
		var known bool
		if r.KLD, known = KLD(c.Type, w.Imatrix); !known {
			r.KLD = lossByBits(c.BPW)
		}
		r.Speed = Predict(m, s, c.Weights, c.ActiveBytes, c.Type, set, w.Calibration)
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

// speedWeight is the weight of speed against quality, by preference. A factor of two in speed counts as much as ln 2 x weight of
// -ln(KLD).
var speedWeight = map[string]float64{"quality": .5, "balanced": 2, "": 2, "speed": 6}

// enough is the speed beyond which more is not felt while reading.
const enough = 40.

// unseen is a KL divergence that nobody notices, about that of Q6_K: below it a smaller one is worth little more speed. Who prefers quality
// gets the smallest that fits all the same.
const unseen = .006

// usualFloor is the KL divergence of Q4_K_M: a type that loses more is chosen only where Q4_K_M has no room at all.
const usualFloor = .032

// score weighs quality against speed.
func (r *Row) score(prefer string) float64 {
	loss := r.KLD
	if prefer != "quality" {
		loss += unseen
	}
	return -math.Log(loss) + speedWeight[prefer]*math.Log(math.Min(r.Speed.Generation, enough))
}

// tooSlow tells a row under the floor: the user's own, or the pace of reading where even the upper end of the interval misses it.
func (r *Row) tooSlow(w Wish) bool {
	if w.MinSpeed > 0 {
		return r.Speed.Generation < w.MinSpeed
	}
	return r.Speed.High < defaultSpeed
}

// pick is the index of the best row that fits, or -1: a comfortable one before a tight one, then by score. lossy lets types below the
// quality of Q4_K_M in, slow those under the floor of speed; among those the fastest is taken.
func pick(rows []Row, w Wish, lossy, slow bool) int {
	best := -1
	for i := range rows {
		r := &rows[i]
		switch {
		case r.Fit == No || w.Type != "" && r.Type != w.Type:
			continue
		case w.Type == "" && (r.KLD > maxKLD || r.KLD > usualFloor && !lossy || r.tooSlow(w) && !slow):
			continue
		}
		if best < 0 || r.beats(&rows[best], w, slow) {
			best = i
		}
	}
	return best
}

func (r *Row) beats(o *Row, w Wish, slow bool) bool {
	if (r.Fit == Fits) != (o.Fit == Fits) {
		return r.Fit == Fits
	}
	if slow {
		return r.Speed.Generation > o.Speed.Generation
	}
	return r.score(w.Prefer) > o.score(w.Prefer)
}

// largestContext is the largest multiple of 1024 tokens, up to the model's limit, with which the chosen type fits.
func (c *Choice) largestContext(s *Shape) int64 {
	limit := s.ContextLimit
	if limit == 0 {
		limit = 1 << 20
	}
	fits := func(ctx int64) bool { return c.fitsAt(s, ctx) }
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
	if !c.Runs {
		return lo * 1024
	}
	return max(lo*1024, min(c.Setting.Context, limit))
}

// fitsAt tells whether the chosen type fits comfortably at another context.
func (c *Choice) fitsAt(s *Shape, context int64) bool {
	if context <= 0 {
		return false
	}
	set := c.Setting
	set.Context = context
	return s.Needs(c.loaded(), set).Total() <= int64(fitShare*float64(c.Budget))
}
