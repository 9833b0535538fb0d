package arch

// Baichuan 1 and 2.
//
// Peculiar: query, key and value are thirds of one tensor, W_pack. The reference does not convert it: it calls itself without
// end on every other tensor. These have ordinary names. Baichuan 2, told by its vocabulary, divides each row of its head by the
// row's length before use, which llama.cpp does not do at run time: it is done here.
//
// Source: llama.cpp v0.5.0, conversion/baichuan.py: BaichuanModel.

import (
	"math"

	"quern/convert/view"
	"quern/convert/vocab"
)

var _ = Register(Arch{
	HF:    []string{"BaichuanForCausalLM", "BaiChuanForCausalLM"},
	GGUF:  "baichuan",
	Note:  "llama.cpp's converter recurses without end on this class; quern converts it by the rule that its code states",
	Names: TextNames,
	Tensors: Rules{Split("model.layers.#.self_attn.W_pack.weight", 0,
		Part{To: "@attn_q", Then: []Transform{Rotary(Cfg("num_attention_heads"))}},
		Part{To: "@attn_k", Then: []Transform{Rotary(groupedHeads)}},
		Part{To: "@attn_v"}),
	}.Also(Given(Is(Opt("vocab_size"), 125696), On("lm_head.weight", unitRows))),
	Keys:  metaKeys,
	Vocab: vocab.SPM,
})

// unitRows gives every row the length 1. Source: modeling_baichuan.py of Baichuan 2, NormHead.
var unitRows = plain("rows of length 1", func(v view.Tensor) (view.Tensor, error) {
	v, err := wide(v)
	if err != nil || len(v.Shape) < 2 {
		return v, err
	}
	width := int(v.Shape[len(v.Shape)-1])
	return view.MapRows(v, func(_ int64, values []float32) {
		for ; len(values) >= width && width > 0; values = values[width:] {
			sum := 0.0
			for _, x := range values[:width] {
				sum += float64(x) * float64(x)
			}
			length := max(math.Sqrt(sum), 1e-12)
			for i, x := range values[:width] {
				values[i] = float32(float64(x) / length)
			}
		}
	})
})
