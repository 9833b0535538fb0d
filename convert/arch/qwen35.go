package arch

// Qwen 3.5, dense and with experts.
//
// Peculiar: where the linear attention has more value heads than key heads, the checkpoint keeps them in groups, one for each key
// head, and llama.cpp repeats key heads over tiles: first of each group, second of each group, and so on. The rope's sections are
// always written.
//
// Source: llama.cpp v0.5.0, conversion/qwen.py: Qwen3_5TextModel, Qwen3_5MoeTextModel.

import (
	"fmt"

	"quern/convert/dequant"
	"quern/convert/gguf"
	"quern/convert/view"
)

// tiled holds where value heads have to move.
var tiled = Fn("another number of value heads than of key heads", func(e *Env) (any, error) {
	k, err := e.Int(Else(Opt("linear_num_key_heads"), 0))
	if err != nil {
		return nil, err
	}
	v, err := e.Int(Else(Opt("linear_num_value_heads"), 0))
	return k > 0 && v > 0 && k != v, err
})

// tile moves the value heads along an axis, behind its first skip elements, from groups into tiles; size is a head's extent.
func tile(axis int, skip, size any) Transform {
	args := []Expr{linearKeyHeads, linearValueHeads, asExpr(skip), asExpr(size)}
	return &transform{text: fmt.Sprintf("value heads of %s in tiles along axis %d", args[3], axis), rows: true,
		f: func(b *Build, it Item, v view.Tensor) (view.Tensor, error) {
			var n [4]int64
			for i, x := range args {
				var err error
				if n[i], err = b.Int(x); err != nil {
					return v, err
				}
			}
			a := axis
			if a < 0 {
				a += len(v.Shape)
			}
			if a >= len(v.Shape) || v.Elements() == 0 {
				return v, fmt.Errorf("no axis %d", axis)
			}
			columns := it.Blocks == gguf.NVFP4 && a == len(v.Shape)-1
			extent := v.Shape[a]
			if columns {
				extent = dequant.Columns(v)
			}
			index, err := tiles(extent, n[0], n[1], n[2], n[3])
			if err != nil {
				return v, err
			}
			if columns {
				return dequant.MoveColumns(v, index)
			}
			return view.Gather(v, a, index)
		}}
}

// tiles is the order of an axis of skip elements and values x size behind them.
func tiles(extent, keys, values, skip, size int64) ([]int64, error) {
	if skip < 0 || size <= 0 || values%keys != 0 || (extent-skip)/size != values || (extent-skip)%size != 0 {
		return nil, fmt.Errorf("%d is not %d and %d value heads of %d, or they are no multiple of %d key heads", extent, skip, values, size, keys)
	}
	index := make([]int64, extent)
	for i := range index {
		index[i] = int64(i)
	}
	each := values / keys
	for i := range extent - skip {
		head, at := i/size, i%size
		index[skip+i] = skip + (head%keys*each+head/keys)*size + at
	}
	return index, nil
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

var qwen35 = Register(Arch{
	Base:    qwen3next,
	HF:      []string{"Qwen3_5ForConditionalGeneration", "Qwen3_5ForCausalLM"},
	GGUF:    "qwen35",
	Tensors: tileRules.Also(qwen3next.Tensors),
	Keys:    qwen3next.Keys.Then(Set("rope.dimension_sections", defaultSections)),
	MTP:     true,
})

var _ = Register(Arch{
	Base: qwen35,
	HF:   []string{"Qwen3_5MoeForConditionalGeneration", "Qwen3_5MoeForCausalLM"},
	GGUF: "qwen35moe",
})
