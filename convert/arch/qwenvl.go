package arch

// The text models of Qwen2-VL, Qwen2.5-VL and Qwen2.5-Omni: Qwen 2 with rope by sections; Omni's stands under "thinker.".
//
// Source: llama.cpp v0.5.0, conversion/qwenvl.py: Qwen2VLModel.

var _ = Register(Arch{
	Base:  qwen2,
	HF:    []string{"Qwen2VLModel", "Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration", "Qwen2_5OmniModel"},
	GGUF:  "qwen2vl",
	Names: Rules{Rename("thinker.*", "thinker.=>")}.Also(TextNames),
	Keys:  TextKeys,
})
