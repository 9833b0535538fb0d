package arch

// WavTokenizer's decoder, which turns OuteTTS's codes into sound.
//
// Peculiar: two stacks of convolutional blocks, each with a count of its own; codes are not text, so there is no vocabulary.
//
// Source: llama.cpp v0.5.0, conversion/wavtokenizer.py: WavTokenizerDecModel.

import "quern/convert/vocab"

var _ = Register(Arch{
	HF:    []string{"WavTokenizerDec"},
	GGUF:  "wavtokenizer-dec",
	Names: Rules{Drop("*codebook.cluster_size|*codebook.embed_avg|*codebook.inited", "only used in training")}.Also(TextNames),
	Keys: TextKeys.Then(
		Set("vocab_size", Cfg("vocab_size")),
		Set("features_length", Cfg("n_embd_features")),
		Set("feed_forward_length", Cfg("n_ff")),
		Set("attention.group_norm_epsilon", Cfg("group_norm_epsilon")),
		Set("attention.group_norm_groups", Cfg("group_norm_groups")),
		Set("posnet.embedding_length", In("posnet", Cfg("n_embd"))),
		Set("posnet.block_count", In("posnet", Cfg("n_layer"))),
		Set("convnext.embedding_length", In("convnext", Cfg("n_embd"))),
		Set("convnext.block_count", In("convnext", Cfg("n_layer"))),
		Set("attention.causal", false),
	),
	Vocab: vocab.None,
	Odd:   []string{"token_embd", "output_norm", "output"}, // the features of a code, the model and its blocks differ in width
})
