package arch

// Baichuan 1 and 2.
//
// Peculiar: query, key and value are thirds of one tensor, W_pack. The reference does not convert it: it calls itself without
// end on every other tensor. These have ordinary names.

import "quern/convert/vocab"

var _ = Register(Arch{
	HF:    []string{"BaichuanForCausalLM", "BaiChuanForCausalLM"},
	GGUF:  "baichuan",
	Note:  "llama.cpp's converter recurses without end on this class; quern converts it by the rule that its code states",
	Names: TextNames,
	Tensors: Rules{Split("model.layers.#.self_attn.W_pack.weight", 0,
		Part{To: "@attn_q", Then: []Transform{Rotary(Cfg("num_attention_heads"))}},
		Part{To: "@attn_k", Then: []Transform{Rotary(groupedHeads)}},
		Part{To: "@attn_v"})},
	Keys:  metaKeys,
	Vocab: vocab.SPM,
})
