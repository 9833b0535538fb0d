package arch

// The text models of Qwen3-VL, Qwen3-Omni and Qwen3-ASR.
//
// Peculiar: the file says into how many layers the images' features go; stacked experts are transposed; Omni and ASR begin and
// end with <|im_end|>, and ASR's chat template in llama.cpp is a text of its own, which is not written.
//
// Source: llama.cpp v0.5.0, conversion/qwen3vl.py: Qwen3VLTextModel, Qwen3ASRTextModel, Qwen3VLMoeTextModel, Qwen3OmniMoeTextModel.

import "quern/convert/vocab"

// deepstack is the number of layers that take the images' features, which the vision model's configuration lists.
func deepstack(of ...string) Expr {
	return Fn("number of deepstack_visual_indexes", func(e *Env) (any, error) {
		c := e.Config
		for _, key := range of {
			if inner, ok := c.Object(key); ok {
				c = inner
			}
		}
		vision, _ := c.Object("vision_config")
		list, _ := vision.List("deepstack_visual_indexes")
		return int64(len(list)), nil
	})
}

var thinkerNames = Rules{Rename("*thinker.*", "thinker.=>")}.Also(TextNames)

var qwen3vl = Register(Arch{
	Base:  qwen3,
	HF:    []string{"Qwen3VLForConditionalGeneration"},
	GGUF:  "qwen3vl",
	Names: thinkerNames,
	Keys:  qwen3.Keys.Then(Set("n_deepstack_layers", deepstack("thinker_config"))),
})

var _ = Register(Arch{
	Base:       qwen3vl,
	HF:         []string{"Qwen3ASRForConditionalGeneration"},
	Keys:       qwen3.Keys.Then(Set("n_deepstack_layers", 0)),
	Vocab:      vocab.QwenASR,
	VocabCases: []VocabCase{},
})

var qwen3vlmoe = Register(Arch{
	Base:    qwen3moe,
	HF:      []string{"Qwen3VLMoeForConditionalGeneration"},
	GGUF:    "qwen3vlmoe",
	Names:   thinkerNames,
	Tensors: Rules{On("*mlp.experts.{down_proj|gate_up_proj}|*mlp.experts.{down_proj|gate_up_proj}.weight", Transposed)}.Also(qwen3moe.Tensors),
	Keys:    qwen3moe.Keys.Then(Set("n_deepstack_layers", deepstack())),
})

var _ = Register(Arch{
	Base:       qwen3vlmoe,
	HF:         []string{"Qwen3OmniMoeForConditionalGeneration"},
	Keys:       qwen3moe.Keys.Then(Set("n_deepstack_layers", 0)),
	Vocab:      vocab.ChatML,
	VocabCases: []VocabCase{},
})
