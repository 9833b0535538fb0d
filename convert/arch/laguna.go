package arch

// Poolside's Laguna.
//
// Peculiar: the number of query heads differs by layer; a gate on the attention's output works by head or by element, as two keys say
// that must agree with each other and with the width of its projection.
//
// Source: llama.cpp v0.5.0, conversion/laguna.py: LagunaModel.

import (
	"fmt"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/view"
	"quern/convert/vocab"
)

var lagunaHeads = Or(Opt("num_attention_heads_per_layer"), Repeat(Cfg("num_attention_heads")))

var _ = Register(Arch{
	HF:    []string{"LagunaForCausalLM"},
	GGUF:  "laguna",
	Names: TextNames,
	Tensors: Rules{
		StackExperts("mlp.experts", Cfg("num_local_experts", "num_experts"), "gate_proj", "up_proj", "down_proj"),
		On("*self_attn.g_proj.weight", View("as wide as the kind of gate says", lagunaGate)),
	},
	Keys: TextKeys.Then(
		Set("vocab_size", Cfg("vocab_size")),
		Set("attention.head_count", lagunaHeads),
		Do("check the kinds of gates", func(m *Meta) error { _, err := m.lagunaGates(); return err }),
		Set("attention.sliding_window", Or(Opt("sliding_window"), Const(nil))),
		Set("expert_feed_forward_length", Cfg("moe_intermediate_size")),
		Set("expert_shared_feed_forward_length", Cfg("shared_expert_intermediate_size")),
		Set("expert_weights_norm", true),
		Set("expert_weights_scale", Cfg("moe_routed_scaling_factor")),
		Set("expert_gating_func", gatingFuncs["sigmoid"]),
		Set("leading_dense_block_count", Leading("mlp_layer_types", "dense")),
		Set("rope.dimension_count", lagunaRotated("full_attention")),
	).Also(When(RopeAll(Has("sliding_attention")),
		Set("rope.dimension_count_swa", lagunaRotated("sliding_attention")),
	)),
	Vocab: vocab.Laguna,
})

// lagunaRotated is how many dimensions of a head are rotated in layers of one kind.
func lagunaRotated(kind string) Expr {
	return Trunc(Mul(Cfg("head_dim"), RopeAll(In(kind, CfgOr("partial_rotary_factor", 1.0)))))
}

// lagunaGates tells for each layer whether the gate works by element; by head where not. A boolean true means by head to the
// runtimes that know no other key, so a gate by element must be stated as a text too.
func (e *Env) lagunaGates() ([]bool, error) {
	const byElement, byHead = "per_element", "per_head"
	stated := e.Config["gating"]
	kind := func(v any) string { s, _ := v.(string); return strings.ReplaceAll(s, "-", "_") }
	list, _ := e.Config.List("gating_types")
	if len(list) == 0 {
		one := stated
		if stated == true {
			one = byHead
		}
		list = slices.Repeat([]any{one}, int(e.Blocks))
	}
	heads, err := lagunaHeads.Eval(e)
	if err != nil {
		return nil, err
	}
	if n, _ := asList(heads); int64(len(list)) != e.Blocks || len(n) != len(list) {
		return nil, &fault.Invalid{On: "config.json", Says: fmt.Sprintf("%d numbers of heads and %d kinds of gates for %d layers", len(n), len(list), e.Blocks)}
	}
	out := make([]bool, len(list))
	for i, v := range list {
		out[i] = kind(v) == byElement
		switch {
		case !out[i] && kind(v) != byHead:
			return nil, &fault.Invalid{On: "config.json: gating", Says: show(v) + " is no kind of gate"}
		case out[i] && kind(stated) != byElement:
			return nil, &fault.Invalid{On: "config.json: gating", Says: show(stated) + ", but layers have a gate by element: runtimes that read this key alone would be wrong",
				Next: `set gating to "per-element" in config.json`}
		}
	}
	return out, nil
}

func lagunaGate(b *Build, it Item, v view.Tensor) (view.Tensor, error) {
	gates, err := b.lagunaGates()
	if err != nil || it.Block < 0 || it.Block >= int64(len(gates)) || len(v.Shape) == 0 {
		return v, err
	}
	e := b.blockEnv(it.Block)
	heads, err := e.Int(AtBlock(lagunaHeads))
	if err != nil {
		return v, err
	}
	want := heads
	if gates[it.Block] {
		dim, err := e.Int(Cfg("head_dim"))
		if err != nil {
			return v, err
		}
		want *= dim
	}
	if v.Shape[0] != want {
		return v, &fault.Invalid{On: it.Source, Says: fmt.Sprintf("a gate of %d rows, the configuration makes it %d", v.Shape[0], want)}
	}
	return v, nil
}
