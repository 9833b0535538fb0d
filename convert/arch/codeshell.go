package arch

// CodeShell: GPT-2's names with rotary positions and grouped key-value heads.
//
// Peculiar: its position scaling is written although it scales by 1.
//
// Source: llama.cpp v0.5.0, conversion/codeshell.py: CodeShellModel.

import "quern/convert/vocab"

var _ = Register(Arch{
	HF:    []string{"CodeShellForCausalLM"},
	GGUF:  "codeshell",
	Names: TextNames,
	Keys: gptKeys(Cfg("n_head"), Cfg("num_query_groups")).Then(
		Set("rope.freq_base", 10000.0),
		Set("rope.scaling.type", "linear"),
		Set("rope.scaling.factor", 1.0),
	),
	Vocab: vocab.GPT2,
})
