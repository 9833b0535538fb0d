package arch

// Hunyuan: the dense models, Hunyuan-A13B, HunyuanOCR's text model and Hy3.
//
// Peculiar: "dynamic" rope is a base stretched by alpha, for 256k tokens whatever the configuration says; A13B states widths
// by layer, which must agree; the vision models turn the same rope by sections (xdrope); Hy3's prediction layers stand behind
// the trunk.
//
// Source: llama.cpp v0.5.0, conversion/hunyuan.py: HunYuanMoEModel, HunYuanModel, HunyuanVLTextModel, HYV3Model.

import (
	"maps"
	"math"

	"quern/convert/fault"
	"quern/convert/vocab"
)

// longContext is what a dynamic rope is good for: 256k tokens. Published models state this or 32k.
const longContext = 256 * 1024

var (
	hunyuanBase    = RopeAll(CfgOr("rope_theta", 10000.0))
	hunyuanDynamic = Is(RopeAll(Opt("rope_type")), "dynamic")
	// What a configuration says when it was trained for the long context or for an eighth of it. With another number the fixed one
	// would be a claim about a model that nobody has seen, so it is refused.
	otherContext = Not(Is(Cfg("max_position_embeddings"), longContext/8, longContext))
)

// stretched is the base of a rope that is stretched by alpha: base * alpha^(dim/(dim-2)).
func stretched(alpha, dim Expr) Expr {
	return Fn("rope_theta * "+alpha.String()+" ^ (dim / (dim - 2))", func(e *Env) (any, error) {
		base, err := e.Float(hunyuanBase)
		if err != nil {
			return nil, err
		}
		a, err := e.Float(alpha)
		if err != nil {
			return nil, err
		}
		d, err := e.Float(dim)
		// In float64, as Python computes it; the key is rounded once, when it is written.
		return base * math.Pow(a, d/(d-2)), err
	})
}

// stretchedKeys write the stretched base and no scaling: llama.cpp has no rope of this kind, and the base alone does it.
func stretchedKeys(alpha, dim Expr) Keys {
	return Keys{
		Set("rope.freq_base", stretched(alpha, dim)),
		Set("rope.scaling.type", "none"),
		Set("rope.scaling.factor", 1.0),
	}
}

var longKeys = Keys{
	Set("rope.scaling.original_context_length", longContext),
	Set("context_length", longContext),
}

// same is a number that the configuration states for every layer. GGUF's keys for these are single numbers, so layers that differ
// cannot be told apart in the file, and are refused.
func same(key string) Expr {
	return Fn(key+" of every layer", func(e *Env) (any, error) {
		v, err := Cfg(key).Eval(e)
		list, ok := asList(v)
		if !ok || err != nil {
			return v, err
		}
		for i, x := range list {
			if !equal(x, list[0]) {
				return nil, &fault.Unsupported{On: "config.json: " + key, Says: show(x) + " in layer " + show(i) + ", " + show(list[0]) + " in layer 0"}
			}
		}
		if len(list) == 0 {
			return nil, &fault.Invalid{On: "config.json: " + key, Says: "is empty"}
		}
		return list[0], nil
	})
}

var (
	moeAlpha = RopeAll(CfgOr("alpha", 1000))
	moeDim   = FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads"))
)

var hunyuanExperts = StackExperts("mlp.experts", Cfg("num_local_experts", "num_experts"), "down_proj", "gate_proj", "up_proj")

var _ = Register(Arch{
	HF:      []string{"HunYuanMoEV1ForCausalLM"},
	GGUF:    "hunyuan-moe",
	Names:   TextNames,
	Tensors: Rules{dropPlainHead, hunyuanExperts},
	Keys: TextKeys.Then(
		Set("expert_shared_feed_forward_length", Cfg("intermediate_size")),
		Set("expert_feed_forward_length", same("moe_intermediate_size")),
		Set("expert_used_count", same("moe_topk")),
		Set("expert_shared_count", same("num_shared_expert")),
	).Also(When(hunyuanDynamic, stretchedKeys(moeAlpha, moeDim).Also(longKeys).Then(
		Fail(Any(Not(Is(moeAlpha, 1000)), Not(Is(hunyuanBase, 10000)), Not(Is(moeDim, 128)), otherContext),
			"a dynamic rope other than that of the published models"),
	)...)),
	Vocab: vocab.HunyuanMoE,
})

var hunyuanDense = Register(Arch{
	HF:      []string{"HunYuanDenseV1ForCausalLM"},
	GGUF:    "hunyuan-dense",
	Names:   TextNames,
	Tensors: Rules{dropPlainHead},
	Keys: Keys{notExperts}.Also(TextKeys,
		When(Is(RopeAll(Opt("rope_type")), "dynamic", "xdrope"), stretchedKeys(RopeAll(CfgOr("alpha", 50)), Cfg("head_dim"))...),
		When(hunyuanDynamic, longKeys.Then(
			Fail(Any(Not(Is(hunyuanBase, 10000)), otherContext), "a dynamic rope other than that of the published models"),
		)...)),
	Vocab: vocab.Hunyuan,
})

// notExperts takes num_experts out of the configuration: some vision models state one expert, which is none.
var notExperts = Do("forget num_experts", func(m *Meta) error {
	c := *m.Env
	c.Config = maps.Clone(m.Config)
	delete(c.Config, "num_experts")
	m.Env = &c
	return nil
})

var _ = Register(Arch{
	Base:   hunyuanDense,
	HF:     []string{"HunYuanVLForConditionalGeneration"},
	GGUF:   "hunyuan_vl",
	Config: Keys{xdrope},
	Keys: hunyuanDense.Keys.Also(When(Is(RopeAll(Opt("rope_type")), "xdrope"),
		Set("rope.freq_base", RopeAll(Cfg("rope_theta"))),
		Set("rope.scaling.alpha", RopeAll(Cfg("alpha"))),
		Set("rope.scaling.type", "none"),
		Set("rope.scaling.factor", RopeAll(CfgOr("factor", 1))),
		Set("rope.scaling.original_context_length", Cfg("max_position_embeddings")),
		Set("context_length", Cfg("max_position_embeddings")),
		Set("rope.dimension_sections", RopeAll(Cfg("xdrope_section"))),
	)),
})

// xdrope gives a dynamic rope with sections, as transformers 5.13 writes it, its older name.
var xdrope = Do("a dynamic rope with mrope_section is xdrope", func(m *Meta) error {
	sections, ok := m.Rope["mrope_section"]
	if !ok || m.Rope["rope_type"] != "dynamic" {
		return nil
	}
	c := *m.Env
	c.Rope = maps.Clone(m.Rope)
	c.Rope["rope_type"], c.Rope["type"], c.Rope["xdrope_section"] = "xdrope", "xdrope", sections
	m.Env = &c
	return nil
})

var hy3Next = &NextN{Layers: CfgOr("num_nextn_predict_layers", 0)}

var _ = Register(Arch{
	HF:    []string{"HYV3ForCausalLM"},
	GGUF:  "hy_v3",
	NextN: hy3Next,
	MTP:   true,
	Names: TextNames.Then(NextNRule(hy3Next)).
		Also(Given(behindTrunk(hy3Next), Rename("*.final_layernorm.*", ".final_layernorm.=>.shared_head.norm."))),
	Tensors: Rules{hunyuanExperts},
	Keys: TextKeys.Then(
		Set("expert_feed_forward_length", Cfg("moe_intermediate_size")),
		Set("expert_shared_feed_forward_length", Mul(Cfg("moe_intermediate_size"), CfgOr("num_shared_experts", 1))),
		Set("expert_weights_norm", FlagOr("route_norm", true)),
		Set("expert_weights_scale", CfgOr("router_scaling_factor", 1.0)),
		Set("expert_gating_func", gatingFuncs["sigmoid"]),
		Set("nextn_predict_layers", NextNCount(Or(hy3Next.Layers, Const(nil)))),
	),
	Vocab: vocab.GPT2,
})
