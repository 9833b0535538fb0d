package arch

// Grok 1 and 2.
//
// Peculiar: stacks of experts are written before the next tensor that is no expert, all finished blocks by number; rope of the type
// "original" is YaRN, and its parameters stand at the root of the configuration.
//
// Source: llama.cpp v0.5.0, conversion/grok.py: GrokModel.

import (
	"cmp"
	"math"
	"slices"

	"quern/convert/vocab"
)

const grokExperts = "transformer.decoder_layer.#.moe.{linear|linear_1|linear_v}.weight"

var _ = Register(Arch{
	HF:    []string{"GrokForCausalLM", "Grok1ForCausalLM"},
	GGUF:  "grok",
	Names: TextNames,
	Tensors: Rules{
		Stack("transformer.decoder_layer.{b}.moe.{x}.{w}.weight", Cfg("num_local_experts"), "transformer.decoder_layer.{b}.moe.{w}.weight",
			"linear", "linear_1", "linear_v"),
		Stack("model.layers.{b}.block_sparse_moe.experts.{x}.{w}.weight", Cfg("num_local_experts"), "transformer.decoder_layer.{b}.moe.{w}.weight",
			"w1:linear", "w2:linear_1", "w3:linear_v"),
		Code("*", "stacks of experts wait for the next other tensor", grokOrder),
	},
	Keys: TextKeys.Then(
		Set("attn_logit_softcapping", CfgOr("attn_logit_softcapping", 30.0)),
		Set("router_logit_softcapping", CfgOr("router_logit_softcapping", 30.0)),
		Set("final_logit_softcapping", Or(Opt("final_logit_softcapping"), Const(nil))),
		Set("expert_feed_forward_length", Opt("moe_intermediate_size")),
	).Also(When(Is(Opt("rope_type"), "yarn", "original"),
		Set("rope.scaling.type", "yarn"),
		Set("rope.scaling.factor", Cfg("scaling_factor")),
		Set("rope.scaling.original_context_length", Cfg("original_max_position_embeddings")),
		Set("rope.scaling.yarn_ext_factor", Cfg("extrapolation_factor")),
		Set("rope.scaling.yarn_attn_factor", Cfg("attn_factor")),
		Set("rope.scaling.yarn_beta_fast", Cfg("beta_fast")),
		Set("rope.scaling.yarn_beta_slow", Cfg("beta_slow")),
	)).Then(
		Set("attention.temperature_length", Or(Opt("attn_temperature_len"), Const(nil))),
		Set("attention.output_scale", CfgOr("attn_output_multiplier", Fn("1 / sqrt(head_dim)", func(e *Env) (any, error) {
			dim, err := e.Float(HeadDim)
			return math.Pow(dim, -0.5), err
		}))),
		Set("embedding_scale", Cfg("embedding_multiplier_scale")),
		Set("logit_scale", Cfg("output_multiplier_scale")),
	),
	Vocab: vocab.SPMOrGPT2,
})

// grokOrder holds stacks back until another tensor comes, or none is left.
func grokOrder(b *Build, it Item) ([]Item, error) {
	waiting, _ := b.Scratch["grok"].([]Item)
	if Pattern(grokExperts).Match(it.Name) {
		if waiting == nil {
			b.Last(func() error { return b.grokRest() })
		}
		b.Scratch["grok"] = append(waiting, it)
		return nil, nil
	}
	b.Scratch["grok"] = []Item{}
	return append(byBlock(waiting), it), nil
}

func (b *Build) grokRest() error {
	waiting, _ := b.Scratch["grok"].([]Item)
	for _, it := range byBlock(waiting) {
		if err := b.emit(it); err != nil {
			return err
		}
	}
	return nil
}

func byBlock(items []Item) []Item {
	slices.SortStableFunc(items, func(x, y Item) int { return cmp.Compare(x.Block, y.Block) })
	return items
}
