package arch

// StarCoder (GPTBigCode) and StarCoder 2.
//
// Peculiar: StarCoder has one key-value head, whatever its configuration says.
//
// Source: llama.cpp v0.5.0, conversion/starcoder.py: StarCoderModel, StarCoder2Model.

import "quern/convert/vocab"

var _ = Register(Arch{
	HF:    []string{"GPTBigCodeForCausalLM"},
	GGUF:  "starcoder",
	Odd:   feedForward, // the key states four times the width, whatever the configuration does
	Names: TextNames,
	Keys:  gptKeys(Cfg("n_head"), 1),
	Vocab: vocab.GPT2,
})

// gptKeys are the keys of GPT-2's relatives that leave the width of the feed-forward network out.
func gptKeys(heads, keyHeads any) Keys {
	return Keys{
		Set("context_length", Cfg("n_positions")),
		Set("embedding_length", Cfg("n_embd")),
		Set("feed_forward_length", Mul(4, Cfg("n_embd"))),
		Set("block_count", BlockCount),
		Set("attention.head_count", heads),
		Set("attention.head_count_kv", keyHeads),
		Set("attention.layer_norm_epsilon", Cfg("layer_norm_epsilon")),
		FileTypeKey,
	}
}

var _ = Register(Arch{HF: []string{"Starcoder2ForCausalLM"}, GGUF: "starcoder2", Names: TextNames, Keys: TextKeys, Vocab: vocab.GPT2})
