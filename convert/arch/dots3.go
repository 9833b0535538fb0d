package arch

// dots3.note: DeepSeek's attention over a latent in two geometries, for layers with a window and for others.
//
// Peculiar: the latents' factors are folded into the norms before them; a prediction layer, told by its embedding, has the geometry of
// layers with a window. Everything that llama.cpp's graph takes for granted is checked.
//
// Source: llama.cpp v0.5.0, conversion/dots3.py: Dots3NoteModel.

import (
	"math"
	"strings"

	"quern/convert/vocab"
)

// dotsNext is the one prediction layer of a checkpoint that has one.
var dotsNext = &NextN{Layers: Fn("1 where there is model.mtp.embed_tokens.weight", func(e *Env) (any, error) {
	for i := range e.Tensors {
		if strings.ReplaceAll(e.Tensors[i].Name, "language_model.", "") == "model.mtp.embed_tokens.weight" {
			return int64(1), nil
		}
	}
	return int64(0), nil
})}

// dotsWindow holds in layers with a window.
var dotsWindow = Fn("layer has a window", func(e *Env) (any, error) {
	n, err := e.Int(Cfg("num_hidden_layers"))
	if err != nil || e.block >= n {
		return true, err
	}
	kind, err := AtBlock(Cfg("layer_types")).Eval(e)
	return kind == "sliding_attention", err
})

// dotsSize is a number of the geometry of the layer at hand.
func dotsSize(key string) Expr { return Choose(dotsWindow, Cfg("swa_"+key), Cfg(key)) }

// dotsFactor is the factor that a latent of this rank is multiplied by.
func dotsFactor(rank Expr) Expr {
	ratio := Div(Cfg("hidden_size"), rank)
	return Fn("sqrt("+ratio.String()+")", func(e *Env) (any, error) {
		x, err := e.Float(ratio)
		return math.Sqrt(x), err
	})
}

// dotsLayers are the kinds of the trunk's layers, dotsBlocks of all.
var (
	dotsLayers = LayersOf("layer_types", "sliding_attention")
	dotsBlocks = Fn(dotsLayers.String()+", true for prediction layers", func(e *Env) (any, error) {
		list, err := e.bools(dotsLayers)
		n, _ := e.Int(Cfg("num_hidden_layers"))
		out := make([]bool, e.Blocks)
		for i := range out {
			out[i] = int64(i) >= n || i < len(list) && list[i]
		}
		return out, err
	})
	dotsTrunk = Fn(dotsLayers.String()+" of the trunk", func(e *Env) (any, error) {
		list, err := e.bools(dotsBlocks)
		n, _ := e.Int(Cfg("num_hidden_layers"))
		return list[:max(0, min(n, int64(len(list))))], err
	})
)

var _ = Register(Arch{
	Base:  &deepseekBase,
	HF:    []string{"Dots3NoteForCausalLM", "Dots3NoteForConditionalGeneration", "Dots3NoteTextForCausalLM"},
	GGUF:  "dots3note",
	NextN: dotsNext,
	MTP:   true,
	Config: Keys{
		Fail(isFalse("use_dsa"), "use_dsa that is not true"),
		Fail(Not(All(Is(CfgOr("normalization", "RMSNorm"), "RMSNorm"), Is(CfgOr("final_norm", "RMSNorm"), "RMSNorm"))), "norms other than RMSNorm"),
		Fail(isFalse("k_rope_only_layernorm"), "k_rope_only_layernorm that is not true"),
		Fail(Not(All(Is(CfgOr("topk_method", "noaux_tc"), "noaux_tc"), Is(Opt("scoring_func"), "sigmoid"))), "a choice of experts other than noaux_tc by sigmoid"),
		Fail(Not(All(Is(CfgOr("n_group", 1), 1), Is(CfgOr("topk_group", 1), 1))), "groups of experts"),
		Fail(Any(Opt("use_dynamic_rsf"), Opt("moe_gating_fp32")), "use_dynamic_rsf or moe_gating_fp32"),
		Fail(Not(All(Is(CfgOr("attention_gate_type", "headwise"), "headwise"), Is(CfgOr("swa_attention_gate_type", "headwise"), "headwise"))),
			"a gate of the attention that is not headwise"),
		Fail(Not(Equal(Add(Cfg("swa_qk_nope_head_dim"), Cfg("swa_qk_rope_head_dim")), CfgOr("swa_head_dim", 256))), "a swa_head_dim that its parts do not add up to"),
		Fail(Not(Equal(Cfg("swa_qk_rope_head_dim"), Cfg("qk_rope_head_dim"))), "rope of two sizes"),
		Fail(Not(Equal(Cfg("swa_q_lora_rank"), Cfg("q_lora_rank"))), "query latents of two sizes"),
	},
	Names: deepseekBase.Names.Then(
		Code("model.mtp.embed_tokens.weight", "belongs to the layer behind the trunk", func(b *Build, it Item) ([]Item, error) {
			return b.behind(it, Cfg("num_hidden_layers"), "embed_tokens.weight", false)
		}),
		NextNRule(dotsNext),
	),
	Tensors: Given(CfgOr("apply_mla_qkv_lora_rescale", false),
		On("model.layers.#.*q_a_layernorm.weight", Times(dotsFactor(Cfg("q_lora_rank")))),
		On("model.layers.#.*kv_a_layernorm.weight", Times(dotsFactor(dotsSize("kv_lora_rank")))),
	).Then(dropTiedHead, deepseekExperts).Also(
		latentSplit(dotsSize("num_attention_heads"), dotsSize("qk_nope_head_dim"), dotsSize("v_head_dim"))),
	Keys: Keys{
		Let("num_attention_heads", ByLayer(dotsBlocks, Cfg("swa_num_attention_heads"), Cfg("num_attention_heads"))),
		Let("head_dim", Const(nil)),
	}.Also(mlaKeys).Then(
		Set("attention.sliding_window", Cfg("sliding_window_size")),
		Set("attention.sliding_window_pattern", dotsTrunk),
		Set("attention.kv_lora_rank_swa", Cfg("swa_kv_lora_rank")),
		Set("attention.key_length_swa", Add(Cfg("swa_kv_lora_rank"), Cfg("swa_qk_rope_head_dim"))),
		Set("attention.value_length_swa", Cfg("swa_kv_lora_rank")),
		Set("attention.key_length_mla_swa", Add(Cfg("swa_qk_nope_head_dim"), Cfg("swa_qk_rope_head_dim"))),
		Set("attention.value_length_mla_swa", Cfg("swa_v_head_dim")),
		Set("nextn_predict_layers", NextNCount(Or(dotsNext.Layers, Const(nil)))),
	).Also(indexerKeys).Then(
		Set("attention.indexer.types", noneOf(dotsTrunk)),
	),
	Vocab:  vocab.Dots3,
	Uneven: true, // dense layers, and layers without an index
})

// noneOf is a list of truths the other way round.
func noneOf(x Expr) Expr {
	return Fn("not "+x.String(), func(e *Env) (any, error) {
		list, err := e.bools(x)
		out := make([]bool, len(list))
		for i := range out {
			out[i] = !list[i]
		}
		return out, err
	})
}
