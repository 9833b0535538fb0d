package arch

// EXAONE 3.5, 4, 4.5 and K-EXAONE.
//
// Peculiar: windows are stated by layer, by a text such as "LLLG" or by a number; the prediction layers stand under "mtp.",
// where one set of tensors may serve all of them.
//
// Source: llama.cpp v0.5.0, conversion/exaone.py: ExaoneModel, Exaone4Model, ExaoneMoEModel, Exaone4_5_TextModel.

import (
	"quern/convert/fault"
	"quern/convert/vocab"
)

var _ = Register(Arch{
	HF:     []string{"ExaoneForCausalLM"},
	GGUF:   "exaone",
	Config: Keys{Fail(Not(Is(Cfg("activation_function"), "silu")), "an activation other than silu")},
	Names:  TextNames,
	Extra:  []Generate{llama3Freqs(RopeAll(CfgOr("rope_theta", 10000.0)), 8)},
	Keys: TextKeys.Then(Set("rope.dimension_count",
		Trunc(Mul(Else(RopeAll(Opt("partial_rotary_factor")), 1.0), FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads")))))),
	Vocab: vocab.GPT2,
})

var exaone4 = Register(Arch{
	HF:    []string{"Exaone4ForCausalLM"},
	GGUF:  "exaone4",
	Names: TextNames,
	Extra: []Generate{llama3Freqs(Rope(CfgOr("rope_theta", 10000.0)), 16)},
	Keys: TextKeys.Then(
		Set("vocab_size", Cfg("vocab_size")),
	).Also(When(Not(Null(Opt("sliding_window"))),
		Set("attention.sliding_window", Cfg("sliding_window")),
		Set("attention.sliding_window_pattern", exaoneWindows),
	)),
	Vocab: vocab.GPT2,
})

// exaoneWindows tells for each layer whether it sees a window only; nil where the configuration does not say.
var exaoneWindows = Fn("layers with a window, by layer_types or sliding_window_pattern", func(e *Env) (any, error) {
	if e.Config.Has("layer_types") {
		return slidingLayers.Eval(e)
	}
	n, err := e.Int(Cfg("num_hidden_layers"))
	if err != nil || n > maxBlocks {
		return nil, err
	}
	pattern, _ := e.value("sliding_window_pattern")
	text, isText := pattern.(string)
	every, isNumber := pattern.(int64)
	switch {
	case isText && text == "", isNumber && every == 0:
		return nil, &fault.Invalid{On: "config.json: sliding_window_pattern", Says: "is " + show(pattern)}
	case !isText && !isNumber:
		return nil, nil
	}
	out := make([]bool, n)
	for i := range out {
		if isText {
			out[i] = text[i%len(text)] == 'L'
		} else {
			out[i] = (int64(i)+1)%every != 0
		}
	}
	return out, nil
})

var exaoneTrunk = Cfg("num_hidden_layers")

var _ = Register(Arch{
	Base:    exaone4,
	HF:      []string{"ExaoneMoEForCausalLM", "ExaoneMoeForCausalLM"}, // transformers 5.1 spells it anew
	GGUF:    "exaone-moe",
	Blocks:  Add(exaoneTrunk, CfgOr("num_nextn_predict_layers", 0)),
	Tensors: mtpNames(exaoneTrunk, true).Then(StackExperts("mlp.experts", Cfg("num_local_experts", "num_experts"), "down_proj", "gate_proj", "up_proj")),
	Keys: exaone4.Keys.Then(
		Set("expert_feed_forward_length", Cfg("moe_intermediate_size")),
		Set("expert_shared_count", Cfg("num_shared_experts")),
		Set("expert_shared_feed_forward_length", Mul(Cfg("moe_intermediate_size"), Cfg("num_shared_experts"))),
		Set("expert_weights_scale", Cfg("routed_scaling_factor")),
		Set("expert_weights_norm", Flag("norm_topk_prob")),
		Set("leading_dense_block_count", CfgOr("first_k_dense_replace", CfgOr("first_last_k_dense_replace", 0))),
		Set("nextn_predict_layers", CfgOr("num_nextn_predict_layers", 0)),
		Set("rope.scaling.type", "none"),
	),
})

var exaoneNext = Or(Opt("num_nextn_predict_layers"), 0)

var _ = Register(Arch{
	Base:   exaone4,
	HF:     []string{"Exaone4_5_ForConditionalGeneration"},
	Blocks: Choose(Is(exaoneNext, 0), defaultBlocks, Add(exaoneTrunk, exaoneNext)),
	Tensors: Given(Is(exaoneNext, 0), Drop("mtp.*", "the configuration has no prediction layers")).
		Also(Given(Opt("mtp_share_layers"), Code("mtp.layers.#.*", "one for all layers behind the trunk", func(b *Build, it Item) ([]Item, error) {
			return b.behind(it, exaoneTrunk, it.Name[len("mtp.layers.")+digits(it.Name[len("mtp.layers."):])+1:], true)
		})), mtpNames(exaoneTrunk, true)).
		Then(Drop("mtp.*", "no prediction layer has such a tensor")),
	Keys: exaone4.Keys.Then(Set("nextn_predict_layers", Or(exaoneNext, Const(nil)))),
})
