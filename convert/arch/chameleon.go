package arch

// Chameleon.
//
// Peculiar: query and key norms are stored once for each head; the first head's is taken, brought into the order of the rows
// and written for every head. The tokenizer of images is left out.
//
// Source: llama.cpp v0.5.0, conversion/chameleon.py: ChameleonModel.

import (
	"fmt"
	"slices"

	"quern/convert/view"
	"quern/convert/vocab"
)

var _ = Register(Arch{
	HF:    []string{"ChameleonForConditionalGeneration", "ChameleonForCausalLM"},
	GGUF:  "chameleon",
	Names: Rules{Drop("model.vqmodel*", "not part of the text model")}.Also(TextNames),
	Tensors: unpermute.Also(Rules{
		On("*{q|k}_norm.{weight|bias}", firstHead),
	}),
	Keys:  TextKeys.Then(Set("swin_norm", FlagOr("swin_norm", false))),
	Vocab: vocab.GPT2,
})

// firstHead puts the first row, in rotary order, in place of every row.
var firstHead = plain("the first row in rotary order for all", func(v view.Tensor) (view.Tensor, error) {
	if len(v.Shape) != 2 || v.Shape[1] == 0 {
		return v, fmt.Errorf("a row for each head is needed")
	}
	row, err := view.Index(v, 0, 0)
	if err != nil {
		return v, err
	}
	if row, err = view.Rotary(row, 1); err != nil {
		return v, err
	}
	return view.Stack(slices.Repeat([]view.Tensor{row}, int(v.Shape[0]))...)
})
