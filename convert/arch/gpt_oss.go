package arch

// gpt-oss.
//
// Peculiar: experts are stacked, gate and up with their rows in turn; in MXFP4 they move to llama.cpp's blocks without loss and come
// before all other tensors; otherwise each expert is stored transposed.
//
// Source: llama.cpp v0.5.0, conversion/gpt_oss.py: GptOssModel.

import (
	"fmt"
	"strings"

	"quern/convert/dequant"
	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/view"
	"quern/convert/vocab"
)

var _ = Register(Arch{
	HF:         []string{"GptOssForCausalLM"},
	GGUF:       "gpt-oss",
	Names:      Rules{Rename("*sinks*", "+.weight")}.Also(TextNames),
	Dequantize: gptOSSExperts,
	Tensors: Rules{
		On("*mlp.experts.down_proj", Transposed),
		Rename("*mlp.experts.down_proj", "+.weight"),
		Rename("*down_proj_bias", "down_proj_bias=>down_proj.bias"),
		// Columns are dealt before they become rows: single rows of a transposed view would cost a pass over the matrix each.
		Deal("*mlp.experts.gate_up_proj", -1,
			Part{To: "gate_up_proj=>gate_proj.weight", Then: []Transform{Transposed}}, Part{To: "gate_up_proj=>up_proj.weight", Then: []Transform{Transposed}}),
		Deal("*gate_up_proj_bias", -1, Part{To: "gate_up_proj_bias=>gate_proj.bias"}, Part{To: "gate_up_proj_bias=>up_proj.bias"}),
	},
	Keys: TextKeys.Then(
		Set("attention.sliding_window", Cfg("sliding_window")),
		Set("expert_feed_forward_length", Cfg("intermediate_size")),
	),
	Vocab: vocab.GPT2,
})

// every lists first, first+step, ... below n.
func every(n, first, step int64) []int64 {
	var at []int64
	for i := first; i < n; i += step {
		at = append(at, i)
	}
	return at
}

// gptOSSExperts repacks experts that are stored in MXFP4, before all other tensors.
func gptOSSExperts(b *Build, s *dequant.Set) (bool, error) {
	if !b.quantized.mxfp4 {
		return false, nil
	}
	for _, name := range s.Names() {
		stem, ok := strings.CutSuffix(name, "_blocks")
		if !ok {
			continue
		}
		codes, _ := s.Find(name)
		scales, ok := s.Find(stem + "_scales")
		if !ok {
			return false, &fault.Invalid{On: name, Says: "there are no scales beside it, " + stem + "_scales"}
		}
		block := blockOf(name)
		if block < 0 {
			return false, &fault.Invalid{On: name, Says: "its name has no number of a block"}
		}
		var parts []mxPart
		switch {
		case strings.HasSuffix(stem, "mlp.experts.down_proj"):
			parts = []mxPart{{"down", 0, 1}}
		case strings.HasSuffix(stem, "mlp.experts.gate_up_proj"):
			parts = []mxPart{{"gate", 0, 2}, {"up", 1, 2}}
		default:
			return false, &fault.Invalid{On: name, Says: "blocks of no matrix that is known"}
		}
		for _, p := range parts {
			if err := p.emit(b, block, codes, scales); err != nil {
				return false, err
			}
		}
		s.Take(name)
		s.Take(stem + "_scales")
	}
	return true, nil
}

// mxPart is every step-th row of each expert, from the row first on.
type mxPart struct {
	role        string
	first, step int64
}

func (p mxPart) emit(b *Build, block int64, codes, scales *dequant.Tensor) error {
	pick := func(v view.Tensor) (view.Tensor, error) {
		if len(v.Shape) < 2 {
			return v, &fault.Invalid{On: codes.Name, Says: fmt.Sprintf("%d dimensions, at least 2 are needed", len(v.Shape))}
		}
		return view.Gather(v, 1, every(v.Shape[1], p.first, p.step))
	}
	c, err := pick(codes.View)
	if err != nil {
		return err
	}
	sc, err := pick(scales.View)
	if err != nil {
		return err
	}
	v, err := dequant.MXFP4(c, sc)
	if err != nil {
		return err
	}
	return b.Emit(fmt.Sprintf("blk.%d.ffn_%s_exps.weight", block, p.role), gguf.MXFP4, v, codes.Source, true)
}
