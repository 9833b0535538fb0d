package report

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"quern/stages/bench"
	"quern/stages/quality"
	"quern/stages/record"
)

// model is a section of the page: all that this machine knows of one model.
type model struct {
	Name, Commit, License, Arch string
	Machine                     string
	Cores, GPUCores             int
	Memory                      int64
	Anchor                      string
	Rows                        []*row // largest file first
}

// row is one file type of a model, with the newest of each kind of measurement.
type row struct {
	Type, Path, SHA256, Run string
	Bytes                   int64
	BPW                     float64
	Chosen                  bool
	When                    time.Time
	LlamaCpp, Power         string
	Checks, Failed          int // of the smoke test
	Bench                   *bench.Report
	Quality                 *quality.Result
	Needs                   []record.Need
	Expected                float64
}

// known tells whether anything but the file itself is known: a section of such a model would be empty.
func (m *model) known() bool {
	return slices.ContainsFunc(m.Rows, func(x *row) bool { return x.known() > 0 || x.Checks+x.Failed > 0 })
}

// apart takes the models of which nothing was measured out of a list, newest file first.
func apart(models []*model) (measured, bare []*model) {
	for _, m := range models {
		if m.known() {
			measured = append(measured, m)
		} else {
			bare = append(bare, m)
		}
	}
	slices.SortStableFunc(bare, func(a, b *model) int { return b.latest().Compare(a.latest()) })
	return measured, bare
}

// latest is when the newest of the model's files was made.
func (m *model) latest() time.Time {
	return slices.MaxFunc(m.Rows, func(a, b *row) int { return a.When.Compare(b.When) }).When
}

// gather groups records by model and machine and keeps the newest measurement of each kind. Records come oldest first.
func gather(records []record.Record) []*model {
	var models []*model
	for _, r := range records {
		if r.Tuned != nil || r.Type == "tune" {
			continue // settings of a machine, no property of a file
		}
		m := find(&models, r)
		m.add(r)
	}
	models = slices.DeleteFunc(models, func(m *model) bool { return len(m.Rows) == 0 })
	for i, m := range models {
		slices.SortStableFunc(m.Rows, func(a, b *row) int { return cmp.Compare(b.Bytes, a.Bytes) })
		m.Anchor = anchor(i, m.Name) // unique by the number, readable by the name
	}
	return models
}

// find tells machines apart by chip and cores as well: figures of two machines in one plot would compare nothing.
func find(models *[]*model, r record.Record) *model {
	for _, m := range *models {
		if m.Name == r.Model && m.Machine == r.Machine && m.Cores == r.Cores && m.GPUCores == r.GPUCores {
			return m
		}
	}
	m := &model{Name: r.Model, Machine: r.Machine, Cores: r.Cores, GPUCores: r.GPUCores, Memory: r.Memory}
	*models = append(*models, m)
	return m
}

// add lets a newer record overrule an older one kind by kind: a later bench without quality does not take the quality away.
func (m *model) add(r record.Record) {
	i := slices.IndexFunc(m.Rows, func(x *row) bool { return x.Type == r.Type })
	if i < 0 {
		m.Rows = append(m.Rows, &row{Type: r.Type})
		i = len(m.Rows) - 1
	}
	x := m.Rows[i]
	if r.SHA256 != "" && x.SHA256 != "" && r.SHA256 != x.SHA256 { // another file under the same type: nothing of the old one holds
		*x = row{Type: r.Type}
	}
	newest(&m.Commit, r.Commit)
	newest(&m.License, r.License)
	newest(&m.Arch, r.Arch)
	newest(&x.Path, r.Path)
	newest(&x.SHA256, r.SHA256)
	newest(&x.Run, r.Run)
	x.Bytes, x.When, x.LlamaCpp = r.Bytes, r.When, r.LlamaCpp
	newest(&x.BPW, r.BPW)
	newest(&x.Expected, r.Expected)
	if r.Chosen { // one type is the recommended one: the last that was
		for _, y := range m.Rows {
			y.Chosen = false
		}
		x.Chosen = true
	}
	if r.Smoke != nil {
		x.count(r)
	}
	if r.Bench != nil {
		x.merge(r.Bench)
	}
	newest(&x.Quality, r.Quality)
	if len(r.Needs) > 0 {
		x.Needs = r.Needs
	}
}

// newest puts v in place of the old value where there is one.
func newest[T comparable](old *T, v T) {
	var none T
	if v != none {
		*old = v
	}
}

// count takes the checks of the newest test alone; skipped ones are neither good nor bad.
func (x *row) count(r record.Record) {
	x.Checks, x.Failed = 0, 0
	for _, c := range r.Smoke.Checks {
		switch c.State {
		case "ok":
			x.Checks++
		case "failed":
			x.Failed++
		}
	}
}

// merge takes over the tests of a newer run and keeps those that only an older one has.
func (x *row) merge(b *bench.Report) {
	now := *b
	if x.Bench != nil {
		for _, old := range x.Bench.Results {
			if !slices.ContainsFunc(now.Results, func(t bench.Result) bool { return t.Name == old.Name }) {
				now.Results = append(now.Results[:len(now.Results):len(now.Results)], old)
			}
		}
	}
	slices.SortStableFunc(now.Results, func(a, b bench.Result) int {
		return cmp.Or(cmp.Compare(a.Depth, b.Depth), cmp.Compare(a.Generate, b.Generate), cmp.Compare(a.Prompt, b.Prompt))
	})
	x.Bench, x.Power = &now, b.Conditions.String()
}

// speed is the test of a kind at a depth: the longest one where there are several.
func (x *row) speed(generation bool, depth int) *bench.Result {
	var best *bench.Result
	if x.Bench == nil {
		return nil
	}
	for i, t := range x.Bench.Results {
		kind := t.Generate > 0 && t.Prompt == 0
		if t.Depth != depth || kind != generation || t.Prompt > 0 && t.Generate > 0 {
			continue
		}
		if best == nil || t.Prompt+t.Generate > best.Prompt+best.Generate {
			best = &x.Bench.Results[i]
		}
	}
	return best
}

// depths are the depths of cache at which anything was measured, in order.
func (m *model) depths() []int {
	var ds []int
	for _, x := range m.Rows {
		if x.Bench == nil {
			continue
		}
		for _, t := range x.Bench.Results {
			if !slices.Contains(ds, t.Depth) {
				ds = append(ds, t.Depth)
			}
		}
	}
	slices.Sort(ds)
	return ds
}

// chosen is the recommended type; nil where none was.
func (m *model) chosen() *row {
	if i := slices.IndexFunc(m.Rows, func(x *row) bool { return x.Chosen }); i >= 0 {
		return m.Rows[i]
	}
	return nil
}

// first is the type that leads the section: the chosen one, else the one of which most is known.
func (m *model) first() *row {
	if x := m.chosen(); x != nil {
		return x
	}
	return slices.MaxFunc(m.Rows, func(a, b *row) int { return cmp.Compare(a.known(), b.known()) })
}

func (x *row) known() int {
	n := 0
	for _, have := range []bool{x.Quality != nil, x.Bench != nil, len(x.Needs) > 0} {
		if have {
			n++
		}
	}
	return n
}

// anchor is a name for links within the page.
func anchor(i int, name string) string {
	s := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '-'
	}, name)
	return "m" + strconv.Itoa(i+1) + "-" + s
}
