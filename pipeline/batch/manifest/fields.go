package manifest

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// keyForm is what a model's key may be: it names a folder and a CI job.
var keyForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// top reads the manifest. Defaults come first, wherever they stand, since every model starts from them.
func (r *reader) top(n *yaml.Node) {
	r.defaults = Model{Gates: Gates{Smoke: SmokeRequired}, Options: map[string]Option{}, Measure: []string{Speed}}
	var models, defaults *yaml.Node
	r.fields(n, "a manifest",
		field{"$schema", func(*yaml.Node) {}}, // for editors of JSON
		field{"version", r.version},
		field{"output", func(v *yaml.Node) { r.text(v, "output", func(s string) { r.set.Output = s }) }},
		field{"budget", r.budget},
		field{"runners", r.runners},
		field{"defaults", func(v *yaml.Node) { defaults = v }},
		field{"models", func(v *yaml.Node) { models = v }},
	)
	if defaults != nil {
		r.fields(defaults, "defaults", r.common(&r.defaults)...)
	}
	if models == nil {
		r.fail(n, "list at least one under models:", "there are no models")
		return
	}
	r.items(models, "models", false, r.model)
	if len(r.set.Models) == 0 && len(r.errs) == 0 {
		r.fail(models, "list at least one", "there are no models")
	}
	if len(r.set.Models) > maxModels {
		r.fail(models, "", "%d models are too many for one manifest, at most %d", len(r.set.Models), maxModels)
	}
	r.unique()
}

func (r *reader) version(n *yaml.Node) {
	r.number(n, "version", func(f float64) {
		if f != Version {
			r.fail(n, fmt.Sprintf("this quern reads version %d", Version), "version %v is not known", f)
		}
	})
}

func (r *reader) budget(n *yaml.Node) {
	b := &r.set.Budget
	r.fields(n, "budget",
		field{"disk", func(v *yaml.Node) { r.size(v, "budget.disk", func(n int64) { b.Disk = n }) }},
		field{"memory", func(v *yaml.Node) { r.size(v, "budget.memory", func(n int64) { b.Memory = n }) }},
		field{"bandwidth", func(v *yaml.Node) { r.size(v, "budget.bandwidth", func(n int64) { b.Bandwidth = n }) }},
		field{"cores", func(v *yaml.Node) { r.whole(v, "budget.cores", func(n int) { b.Cores = n }) }},
	)
}

// whole reads a positive whole number of things that no one has many of.
func (r *reader) whole(n *yaml.Node, what string, set func(int)) {
	r.number(n, what, func(f float64) {
		if f != float64(int(f)) || f > 1<<16 {
			r.fail(n, "", "%s is a whole number up to %d, not %v", what, 1<<16, f)
			return
		}
		set(int(f))
	})
}

func (r *reader) quality(n *yaml.Node, m *Model) {
	r.fields(n, "quality",
		field{"text", func(v *yaml.Node) { r.text(v, "quality.text", func(s string) { m.Judge.Text = s }) }},
		field{"chunks", func(v *yaml.Node) { r.whole(v, "quality.chunks", func(n int) { m.Judge.Chunks = n }) }},
	)
}

func (r *reader) runners(n *yaml.Node) {
	r.set.Runners = map[string][]string{}
	r.pairs(n, "runners", func(key, value *yaml.Node) {
		if key.Value != "default" {
			if err := r.words.Machine(key.Value); err != nil {
				r.fail(key, hint(err), "runners: %s", err)
			}
		}
		r.items(value, "the labels of a runner", true, func(l *yaml.Node) {
			r.text(l, "a label", func(s string) { r.set.Runners[key.Value] = append(r.set.Runners[key.Value], s) })
		})
	})
}

// common are the keys that defaults and models share.
func (r *reader) common(m *Model) []field {
	return []field{
		{"types", func(v *yaml.Node) { r.types(v, m) }},
		{"for", func(v *yaml.Node) { r.machines(v, m) }},
		{"options", func(v *yaml.Node) { r.options(v, m) }},
		{"gates", func(v *yaml.Node) { r.gates(v, m) }},
		{"quality", func(v *yaml.Node) { r.quality(v, m) }},
		{"measure", func(v *yaml.Node) {
			m.Measure = []string{}
			r.items(v, "measure", true, func(w *yaml.Node) {
				r.oneOf(w, "measure", func(s string) { m.Measure = append(m.Measure, s) }, Speed, Quality)
			})
		}},
	}
}

func (r *reader) model(n *yaml.Node) {
	m := r.defaults
	m.At = at(n)
	m.Options = maps.Clone(r.defaults.Options)
	model := func(v *yaml.Node) { r.text(v, "model", func(s string) { m.Model = s }) }
	if t := target(n); t.Kind == yaml.ScalarNode {
		model(n)
	} else {
		r.fields(n, "a model", append(r.common(&m),
			field{"model", model},
			field{"name", func(v *yaml.Node) {
				r.text(v, "name", func(s string) {
					if m.Key = s; !keyForm.MatchString(s) {
						m.Key = ""
						r.fail(v, "lower-case letters, digits, dots and hyphens", "name %q cannot be a folder and a job", s)
					}
				})
			}})...)
	}
	if m.Model == "" {
		if len(r.errs) == 0 || r.errs[len(r.errs)-1].Line < n.Line {
			r.fail(n, "model: org/name, org/name@revision, or a folder", "the model is not named")
		}
		return
	}
	if m.Key == "" {
		m.Key = keyOf(m.Model)
	}
	if len(m.Types) == 0 {
		m.Types = []Type{{Name: Recommended, At: m.At}}
	}
	if m.Gates.MinSpeed > 0 && m.Gates.Smoke == SmokeOff {
		r.fail(n, "", "%s: min_speed needs a file that runs, and smoke is off", m.Key)
	}
	r.set.Models = append(r.set.Models, m)
}

// keyOf makes a key of the last part of a model's name, without its revision.
func keyOf(model string) string {
	name, _, _ := strings.Cut(path.Base(strings.ReplaceAll(model, `\`, "/")), "@")
	return slug(strings.TrimSuffix(name, ".gguf"))
}

func (r *reader) unique() {
	seen := map[string]Position{}
	for _, m := range r.set.Models {
		if first, twice := seen[m.Key]; twice {
			r.errs = append(r.errs, &Error{r.set.File, m.At, fmt.Sprintf("the name %s is taken by the model of line %d", m.Key, first.Line), "give one of them another `name:`"})
		}
		if !keyForm.MatchString(m.Key) {
			r.errs = append(r.errs, &Error{r.set.File, m.At, fmt.Sprintf("no name can be made of %q", m.Model), "give it a `name:`"})
		}
		seen[m.Key] = m.At
	}
}

func (r *reader) types(n *yaml.Node, m *Model) {
	m.Types = nil
	add := func(v *yaml.Node, t Type) {
		t.At = at(v)
		if slices.ContainsFunc(m.Types, func(o Type) bool { return strings.EqualFold(o.String(), t.String()) }) {
			r.fail(v, "", "type %s stands twice", t)
			return
		}
		m.Types = append(m.Types, t)
	}
	r.items(n, "types", true, func(v *yaml.Node) {
		if target(v).Kind == yaml.MappingNode {
			r.fields(v, "a type", field{"fit", func(f *yaml.Node) {
				r.size(f, "fit", func(int64) { add(v, Type{Fit: target(f).Value}) })
			}})
			return
		}
		r.text(v, "a type", func(s string) {
			if s == Recommended {
				add(v, Type{Name: s})
				return
			}
			if err := r.words.Type(s); err != nil {
				r.fail(v, "a type's name such as Q4_K_M, `recommended`, or `fit: SIZE`", "%s", err)
				return
			}
			add(v, Type{Name: strings.ToUpper(s)})
		})
	})
}

func (r *reader) machines(n *yaml.Node, m *Model) {
	m.For = nil
	r.items(n, "for", true, func(v *yaml.Node) {
		r.text(v, "a machine", func(s string) {
			switch err := r.words.Machine(s); {
			case err != nil:
				r.fail(v, hint(err), "%s", err)
			case slices.ContainsFunc(m.For, func(o string) bool { return slug(o) == slug(s) }):
				r.fail(v, "", "machine %q stands twice", s)
			default:
				m.For = append(m.For, s)
			}
		})
	})
}

func (r *reader) gates(n *yaml.Node, m *Model) {
	g := &m.Gates
	r.fields(n, "gates",
		field{"smoke", func(v *yaml.Node) {
			r.oneOf(v, "smoke", func(s string) { g.Smoke = s }, SmokeRequired, SmokeReport, SmokeOff)
		}},
		field{"max_kld", func(v *yaml.Node) { r.number(v, "max_kld", func(f float64) { g.MaxKLD = f }) }},
		field{"min_speed", func(v *yaml.Node) { r.number(v, "min_speed", func(f float64) { g.MinSpeed = f }) }},
	)
}

// oneOf accepts YAML 1.1's off as a word.
func (r *reader) oneOf(n *yaml.Node, what string, set func(string), words ...string) {
	v := target(n)
	if v.Kind != yaml.ScalarNode || !slices.Contains(words, v.Value) {
		r.fail(n, r.words.Nearest(v.Value, words), "%s is one of %s, not %s", what, strings.Join(words, ", "), describe(v))
		return
	}
	set(v.Value)
}

func (r *reader) options(n *yaml.Node, m *Model) {
	own := map[string]Option{}
	r.pairs(n, "options", func(key, value *yaml.Node) {
		kind, ok := r.words.Options[key.Value]
		if !ok {
			r.fail(key, r.words.Nearest(key.Value, slices.Sorted(maps.Keys(r.words.Options))), "there is no option %q", key.Value)
			return
		}
		o := Option{Kind: kind, At: at(key)}
		add := func(s string) { o.Words = append(o.Words, s) }
		switch what := "option " + key.Value; kind {
		case Bool:
			if s, ok := r.scalar(value, what, "true or false", "!!bool"); ok {
				add(strings.ToLower(s))
			}
		case Number:
			if s, ok := r.scalar(value, what, "a number", "!!int", "!!float"); ok {
				add(s)
			}
		case List:
			r.items(value, what, true, func(v *yaml.Node) { r.text(v, what, add) })
		default:
			r.text(value, what, add)
		}
		own[key.Value] = o
	})
	if m.Options == nil {
		m.Options = map[string]Option{}
	}
	maps.Copy(m.Options, own)
}

func hint(err error) string {
	if h, ok := err.(interface{ Hint() string }); ok {
		return h.Hint()
	}
	return ""
}
