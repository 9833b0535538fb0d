package arch

// Refact: GPT-2's names over a Llama-like block with one key-value head and ALiBi.
//
// Peculiar: the configuration does not state the width of the feed-forward network: it is two thirds of 4 x n_embd, up to a
// multiple of 256. Key and value, and gate and up, are one tensor each.
//
// Source: llama.cpp v0.5.0, conversion/refact.py: RefactModel.

import "quern/convert/vocab"

var (
	refactWidth = Mul(256, FloorDiv(Add(FloorDiv(Mul(8, Cfg("n_embd")), 3), 255), 256))
	refactHead  = FloorDiv(Cfg("n_embd"), Cfg("n_head"))
)

var _ = Register(Arch{
	HF:    []string{"GPTRefactForCausalLM"},
	GGUF:  "refact",
	Names: TextNames,
	Tensors: Rules{
		Rename("transformer.h.#.attn.q.weight", "@attn_q"),
		Split("transformer.h.#.attn.kv.weight", 0, Part{To: "@attn_k", Size: refactHead}, Part{To: "@attn_v"}),
		Split("transformer.h.#.mlp.gate_up_proj.weight", 0, Part{To: "@ffn_gate", Size: refactWidth}, Part{To: "@ffn_up"}),
	},
	Keys: Keys{
		Set("context_length", Cfg("n_positions")),
		Set("embedding_length", Cfg("n_embd")),
		Set("feed_forward_length", refactWidth),
		Set("block_count", BlockCount),
		Set("attention.head_count", Cfg("n_head")),
		Set("attention.head_count_kv", 1),
		Set("attention.layer_norm_rms_epsilon", Cfg("layer_norm_epsilon")),
		FileTypeKey,
	},
	Vocab: vocab.Refact,
})
