package arch

import (
	"strings"
	"testing"

	"quern/convert/config"
)

// TestTables wants the embedded facts to be whole: counts are those of llama.cpp v0.5.0.
func TestTables(t *testing.T) {
	tab, err := loadTables()
	if err != nil {
		t.Fatal(err)
	}
	if len(tab.archs) != 152 || len(tab.byID) < 550 || len(tab.keys) < 270 {
		t.Errorf("%d architectures, %d roles, %d keys", len(tab.archs), len(tab.byID), len(tab.keys))
	}
	for _, k := range []string{"{arch}.block_count", "xielu.beta", "{arch}.ple.layer_multipliers"} {
		if _, ok := tab.keys[k]; !ok {
			t.Errorf("no key %s", k)
		}
	}
}

// TestRegistry wants every entry to use only what the tables know, and every class name to be registered once.
func TestRegistry(t *testing.T) {
	tab, err := loadTables()
	if err != nil {
		t.Fatal(err)
	}
	if len(duplicates) > 0 {
		t.Errorf("registered twice: %v", duplicates)
	}
	for _, a := range entries {
		name := a.GGUF + " " + strings.Join(a.HF, ",")
		if tab.archs[a.GGUF] == nil {
			t.Errorf("%s: no roles of this architecture", name)
		}
		if a.Keys == nil || a.Vocab == "" && !a.Projector() {
			t.Errorf("%s: no keys or vocabulary", name)
		}
		for _, list := range []Keys{a.Config, a.Opening, a.Early, a.Keys, a.VocabEarly, a.VocabLate} {
			for _, k := range list {
				if !k.let && !k.fail && k.do == nil && !tab.knownKey(a.GGUF, k.Name) {
					t.Errorf("%s: no metadata key %q", name, k.Name)
				}
			}
		}
		for _, r := range append(a.Names.Also(), a.Tensors...) {
			for _, id := range rolesIn(r.op) {
				if tab.byID[id] == nil {
					t.Errorf("%s: %s: no role %q", name, r, id)
				}
			}
		}
	}
}

// rolesIn lists the roles that a rule names.
func rolesIn(op operation) []string {
	var names []string
	switch op := op.(type) {
	case rename:
		names = append(names, string(op))
	case duplicate:
		names = append(names, string(op))
	case split:
		for _, p := range op.parts {
			names = append(names, p.To)
		}
	case splitGroups:
		for _, p := range op.parts {
			names = append(names, p.To)
		}
	case *gather:
		for _, w := range op.outs {
			names = append(names, strings.ReplaceAll(op.into, "{w}", w))
		}
	}
	var ids []string
	for _, n := range names {
		if id, ok := strings.CutPrefix(n, "@"); ok {
			id, _, _ = strings.Cut(id, ".")
			ids = append(ids, id)
		}
	}
	return ids
}

func TestPattern(t *testing.T) {
	for _, c := range []struct {
		pattern Pattern
		name    string
		want    bool
	}{
		{"*q_proj.weight", "model.layers.0.self_attn.q_proj.weight", true},
		{"*q_proj.weight", "model.layers.0.self_attn.q_proj.bias", false},
		{"*.{q|k}_proj.{weight|bias}", "a.k_proj.bias", true},
		{"*.{q|k}_proj.{weight|bias}", "a.v_proj.bias", false},
		{"mlp*|*vision.*", "model.vision.x", true},
		{"mlp*|*vision.*", "model.mlp", false},
		{"model.layers.#.x", "model.layers.12.x", true},
		{"model.layers.#.x", "model.layers..x", false},
		{"model.layers.#.x", "model.layers.#.x", false},
		{"*experts*", "mlp.experts", true},
		{"*", "", true},
		{"", "", true},
		{"a", "", false},
		{"*a*b", "xaxbxb", true},
	} {
		if got := c.pattern.Match(c.name); got != c.want {
			t.Errorf("%q on %q: %v", c.pattern, c.name, got)
		}
	}
}

func TestNames(t *testing.T) {
	n, err := newNames("llama", 12)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"model.layers.3.self_attn.q_proj.weight": "blk.3.attn_q.weight",
		"model.layers.12.self_attn.q_proj.bias":  "", // behind the last block
		"model.layers.03.self_attn.q_proj.bias":  "",
		"model.embed_tokens.weight":              "token_embd.weight",
		"blk.1.ffn_up.weight":                    "blk.1.ffn_up.weight",
		"model.layers.#.self_attn.q_proj":        "",
		"lm_head":                                "output",
	} {
		_, got, ok := n.Map(name)
		if got != want || ok != (want != "") {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if got := n.Nearest("model.layers.3.self_attn.q_prj.weight"); got != "model.layers.3.self_attn.q_proj" {
		t.Errorf("nearest: %q", got)
	}
	if !n.Is("blk.0.ffn_gate_inp.weight", "ffn_gate_inp", 0) || n.Is("blk.0.ffn_gate_inp.weight", "ffn_gate_inp", 1) {
		t.Error("Is must look at the block")
	}
}

// TestArithmetic wants Python's numbers: integers stay integers, // floors, nothing wraps around.
func TestArithmetic(t *testing.T) {
	e := &Env{Config: config.Object{"a": int64(7), "b": int64(-2), "f": 0.5, "z": int64(0), "big": int64(1) << 62}}
	for _, c := range []struct {
		x    Expr
		want any
	}{
		{FloorDiv(Cfg("a"), Cfg("b")), int64(-4)},
		{Mul(Cfg("a"), Cfg("f")), 3.5},
		{Trunc(Mul(Cfg("a"), Cfg("f"))), int64(3)},
		{Sub(Add(1, Cfg("a")), 3), int64(5)},
		{Else(Opt("none"), 4), int64(4)},
		{Or(Cfg("z"), 5), int64(5)},
		{CfgOr("z", 5), int64(0)},
		{FloorDiv(1, Cfg("z")), nil},
		{Mul(Cfg("big"), Cfg("big")), nil},
		{Cfg("none"), nil},
	} {
		got, err := c.x.Eval(e)
		if got != c.want || (err != nil) != (c.want == nil) {
			t.Errorf("%s: %v, %v", c.x, got, err)
		}
	}
}

// TestKinds wants the reference's rules for what may stand under a key.
func TestKinds(t *testing.T) {
	var m metadata
	for _, c := range []struct {
		key  string
		v    any
		want any
	}{
		{"block_count", int64(3), uint32(3)},
		{"block_count", 3.0, nil},
		{"block_count", int64(-1), nil},
		{"attention.head_count", []int64{1, 2}, []int32{1, 2}},
		{"block_count", []int64{1}, nil},
		{"rope.freq_base", int64(10000), float32(10000)},
		{"attention.causal", int64(0), false},
		{"attention.sliding_window_pattern", []bool{true, false}, []bool{true, false}},
		{"xielu.beta", []float64{0.5}, []float32{0.5}},
		{"no.such.key", int64(1), nil},
	} {
		err := m.set("x", c.key, c.v)
		if (err == nil) != (c.want != nil) {
			t.Errorf("%s = %v: %v", c.key, c.v, err)
		}
	}
	if m.kvs[0].Key != "x.block_count" || m.kvs[len(m.kvs)-1].Key != "xielu.beta" {
		t.Errorf("keys: %v", m.kvs)
	}
}

// TestRules wants every entry to print in full.
func TestRules(t *testing.T) {
	for _, a := range entries {
		var s strings.Builder
		if err := a.WriteRules(&s); err != nil {
			t.Fatal(err)
		}
		lines := strings.Count(s.String(), "\n")
		if want := len(a.Names) + len(a.Tensors) + len(a.Keys); lines < want || strings.Contains(s.String(), "%!") {
			t.Errorf("%s: %d lines for %d steps:\n%s", a.GGUF, lines, want, &s)
		}
	}
}
