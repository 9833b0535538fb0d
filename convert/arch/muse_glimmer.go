package arch

// Muse Glimmer, and the assistant that drafts for it.
//
// Peculiar: query and key are normed without weights and scaled by a constant, which becomes the weight of a norm; norms of the
// layers are stored less one, the last as it is. The assistant is a DFlash draft that takes its target's vocabulary.
//
// Source: llama.cpp v0.5.0, conversion/muse_glimmer.py: MuseGlimmerModel, MuseGlimmerAssistantModel.

import (
	"fmt"

	"quern/convert/fault"
	"quern/convert/view"
	"quern/convert/vocab"
)

var _ = Register(Arch{
	HF:    []string{"MuseGlimmerForConditionalGeneration"},
	GGUF:  "muse-glimmer",
	Names: TextNames,
	Tensors: Rules{
		On("*layernorm.weight", Plus(1)),
		On("*.self_attn.q_proj.*", Rotary(Cfg("num_attention_heads"))),
		On("*.self_attn.k_proj.*", Rotary(Cfg("num_key_value_heads"))),
		Code("model.layers.#.self_attn.q_proj.weight", "norms that scale by qk_scale_factor", museNorms),
	},
	Keys: TextKeys.Then(
		Set("final_logit_softcapping", Cfg("final_logit_softcapping")),
		Set("logit_scale", Cfg("output_multiplier")),
		Set("attention.sliding_window", Cfg("sliding_window")),
		Set("attention.sliding_window_pattern", slidingLayers),
	),
	Vocab: vocab.MuseGlimmer,
})

// museNorms puts norms of query and key before the query's matrix.
func museNorms(b *Build, it Item) ([]Item, error) {
	dim, err := b.Int(Cfg("head_dim"))
	if err != nil {
		return nil, err
	}
	if dim < 0 || dim > maxHeadDim {
		return nil, &fault.Invalid{On: "config.json: head_dim", Says: fmt.Sprintf("%d, at most %d", dim, maxHeadDim)}
	}
	scale, err := b.Float(Cfg("qk_scale_factor"))
	if err != nil {
		return nil, err
	}
	q, k := it, it
	if q.Name, err = b.renamed("@attn_q_norm", it); err != nil {
		return nil, err
	}
	if k.Name, err = b.renamed("@attn_k_norm", it); err != nil {
		return nil, err
	}
	if q.View, err = filled(q.Name, dim, float32(scale)); err != nil {
		return nil, err
	}
	k.View, err = filled(k.Name, dim, 1)
	return []Item{q, k, it}, err
}

// filled is a vector of n equal values.
func filled(name string, n int64, value float32) (view.Tensor, error) {
	values := make([]float32, n)
	for i := range values {
		values[i] = value
	}
	return view.Values(name, []int64{n}, values)
}

var _ = Register(Arch{
	HF:    []string{"MuseGlimmerAssistantModel"},
	GGUF:  "dflash",
	Names: TextNames,
	Keys: TextKeys.Then(
		Set("block_size", Trunc(Cfg("block_size"))),
		Set("target_layers", draftTargets),
	).Also(When(All(Opt("sliding_window"), Opt("layer_types")),
		Set("attention.sliding_window", Trunc(Cfg("sliding_window"))),
		Set("attention.sliding_window_pattern", slidingLayers),
	)),
	Vocab:     vocab.MuseGlimmer,
	VocabFrom: AsTarget,
	VocabLate: Keys{Set("tokenizer.ggml.mask_token_id", Opt("mask_token_id"))},
	Odd:       dflash.Odd,
})
