package arch

// Qwen 3.5, dense and with experts.
//
// Peculiar: where the linear attention has more value heads than key heads, the checkpoint keeps them in groups, one for each key
// head, and llama.cpp repeats key heads over tiles: first of each group, second of each group, and so on. The rope's sections are
// always written.

import "quern/convert/view"

// tiled holds where value heads have to move.
var tiled = Fn("fewer key heads than value heads", func(e *Env) (any, error) {
	k, err := e.Int(Else(Opt("linear_num_key_heads"), 0))
	if err != nil {
		return nil, err
	}
	v, err := e.Int(Else(Opt("linear_num_value_heads"), 0))
	return k > 0 && v > 0 && k != v && v%k == 0, err
})

// tile moves the value heads along an axis behind the first skip elements from groups into tiles; size is a head's extent.
func tile(axis int, skip, size any) Transform {
	text := "value heads in tiles (%s)"
	return withInts(text, []any{linearKeyHeads, linearValueHeads, skip, size}, func(v view.Tensor, n []int64) (view.Tensor, error) {
		keys, each, first, head := n[0], n[1]/n[0], n[2], n[3]
		index := make([]int64, 0, first+n[1]*head)
		for i := range first {
			index = append(index, i)
		}
		for j := range each {
			for k := range keys {
				for d := range head {
					index = append(index, first+(k*each+j)*head+d)
				}
			}
		}
		if axis < 0 {
			axis += len(v.Shape)
		}
		return view.Gather(v, axis, index)
	})
}

var (
	queryAndKey = Mul(2, Cfg("linear_key_head_dim"), linearKeyHeads)
	tileRules   = Given(tiled,
		On("*linear_attn.in_proj_qkv.*", tile(0, queryAndKey, linearValueDim)),
		On("*linear_attn.in_proj_z.*", tile(0, 0, linearValueDim)),
		On("*linear_attn.in_proj_{a|b}.*", tile(0, 0, 1)),
		On("*linear_attn.{A_log|dt_bias}|*linear_attn.dt_proj.*", tile(-1, 0, 1)),
		On("*linear_attn.conv1d*", SqueezeAll, tile(0, queryAndKey, linearValueDim)),
		On("*linear_attn.out_proj.*", tile(1, 0, linearValueDim)))
)

var defaultSections = Fn("mrope_section, or 11 11 10", func(e *Env) (any, error) {
	if v, ok := e.Rope["mrope_section"]; ok && v != nil {
		return mropeSections.Eval(e)
	}
	return []int64{11, 11, 10, 0}, nil
})

// inNVFP4 holds where matrices pass as blocks, which these rules do not cut.
var inNVFP4 = Fn("weights in NVFP4", func(e *Env) (any, error) {
	q, err := e.quantized()
	return q.nvfp4, err
})

var qwen35 = Register(Arch{
	Base:    qwen3next,
	HF:      []string{"Qwen3_5ForConditionalGeneration", "Qwen3_5ForCausalLM"},
	GGUF:    "qwen35",
	Config:  Keys{Fail(All(tiled, inNVFP4), "NVFP4 weights of a linear attention whose value heads have to move")},
	Tensors: tileRules.Also(qwen3next.Tensors),
	Keys:    qwen3next.Keys.Then(Set("rope.dimension_sections", defaultSections)),
	MTP:     true,
})

var _ = Register(Arch{
	Base:       qwen35,
	HF:         []string{"Qwen3_5MoeForConditionalGeneration", "Qwen3_5MoeForCausalLM"},
	GGUF:       "qwen35moe",
	FuseGateUp: true,
})
