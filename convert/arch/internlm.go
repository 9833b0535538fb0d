package arch

// InternLM 2 and 3. Intern-S1 is a Qwen 3 with a vocabulary of its own.
//
// Peculiar: InternLM 2 fuses query, key and value by key-value head; InternLM 3 is written as llama.
//
// Source: llama.cpp v0.5.0, conversion/internlm.py: InternLM2Model, InternLM3Model.

import "quern/convert/vocab"

var (
	internHeads   = Cfg("num_attention_heads")
	internQueries = FloorDiv(internHeads, Cfg("num_key_value_heads")) // a group's queries
	internDim     = FloorDiv(Cfg("hidden_size"), internHeads)
)

var _ = Register(Arch{
	HF:    []string{"InternLM2ForCausalLM"},
	GGUF:  "internlm2",
	Names: TextNames,
	Tensors: Rules{SplitGroups("model.layers.#.attention.wqkv*", FloorDiv(internHeads, internQueries),
		Part{To: "@attn_q", Size: Mul(internQueries, internDim), Then: []Transform{Rotary(internHeads)}},
		Part{To: "@attn_k", Size: internDim, Then: []Transform{Rotary(Cfg("num_key_value_heads"))}},
		Part{To: "@attn_v", Size: internDim},
	)},
	Keys:  TextKeys,
	Vocab: vocab.InternLM2,
})

var _ = Register(Arch{
	HF:      []string{"InternLM3ForCausalLM"},
	GGUF:    "llama",
	Names:   Rules{Drop("vision_model*", "not part of the text model")}.Also(TextNames),
	Tensors: unpermute,
	Keys:    TextKeys.Then(Set("vocab_size", Cfg("vocab_size")), ropeDim),
	Vocab:   vocab.InternLM3,
})
