package arch

// Talkie.
//
// Peculiar: gains of attention, feed-forward and heads are tensors of one number or one for each head; that of the head becomes
// metadata; its rotary embedding turns the other way, which the second half of each head's rows takes on.
//
// Source: llama.cpp v0.5.0, conversion/talkie.py: TalkieModel.

import (
	"fmt"
	"math"

	"quern/convert/fault"
	"quern/convert/view"
	"quern/convert/vocab"
)

var _ = Register(Arch{
	HF:    []string{"TalkieForCausalLM"},
	GGUF:  "talkie",
	Names: TextNames,
	Tensors: Rules{
		scaleOf("model.blocks.#.attn_gain.a_g", "attn_out"),
		scaleOf("model.blocks.#.mlp_gain.a_g", "ffn_down"),
		Code("lm_head_gain.w_g", "written as logit_scale", func(b *Build, it Item) ([]Item, error) {
			b.Scratch["logit_scale"] = it
			return nil, nil
		}),
		On("model.blocks.#.attn.attn_{query|key}.weight", otherTurn),
		On("model.blocks.#.attn.head_gain.head_g", Unsqueeze(-1)),
		Rename("*", "+.weight").Except("*.weight|*.scale"),
	},
	Early: Keys{Do("logit_scale = lm_head_gain", func(m *Meta) error {
		it, ok := m.b.Scratch["logit_scale"].(Item)
		if !ok {
			return nil
		}
		v, err := m.b.Floats(it.View)
		if err == nil && len(v) != 1 {
			err = &fault.Invalid{On: it.Source, Says: fmt.Sprintf("%d values, one is needed", len(v))}
		}
		if err != nil {
			return err
		}
		return m.Set("logit_scale", float64(v[0]))
	})},
	Keys:  TextKeys.Then(Set("attention.layer_norm_rms_epsilon", math.Pow(2, -23))), // torch's, of float32
	Vocab: vocab.GPT2,
})

// otherTurn changes the sign of the second half of every head's rows.
var otherTurn = withInts("second half of each head of %s rows negated", []any{Cfg("head_dim")}, func(v view.Tensor, n []int64) (view.Tensor, error) {
	if len(v.Shape) != 2 || n[0] <= 0 {
		return v, fmt.Errorf("no matrix of heads of %d rows", n[0])
	}
	heads, err := view.Reshape(v, -1, n[0], v.Shape[1])
	if err != nil {
		return v, err
	}
	halves, err := view.Split(heads, 1, n[0]/2, n[0]-n[0]/2)
	if err != nil {
		return v, err
	}
	if halves[1], err = view.Negate(halves[1]); err != nil {
		return v, err
	}
	if heads, err = view.Concat(1, halves...); err != nil {
		return v, err
	}
	return view.Reshape(heads, v.Shape...)
})
