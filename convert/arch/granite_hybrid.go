package arch

// Granite 4 hybrid and Bamba: Mamba 2 in most layers, attention in the others, with or without experts.
//
// Peculiar: config.json is taken as it stands, keys with or without Mamba's prefix; which layers are attention is a list of words,
// of numbers, or a period; without a Mamba layer the model is a plain Granite, though the keys of the state space stay. Bamba has
// rotary positions, Granite's hybrids none.
//
// Source: llama.cpp v0.5.0, conversion/granite.py: GraniteHybridModel.

import (
	"cmp"
	"fmt"
	"slices"

	"quern/convert/fault"
	"quern/convert/vocab"
)

var (
	hybridWidth  = Cfg(prefixed("mamba_head_dim", "hidden_size", "d_model")...)
	hybridGroups = Cfg(prefixed("n_groups", "num_groups")...)
	hybridInner  = Mul(Cfg(prefixed("expand", "num_heads")...), hybridWidth)
)

// hybrid is what the hybrids share; hybridKeys and hybridRules are theirs with another inner size.
var hybrid = Register(Arch{
	Base:       graniteMoE,
	GGUF:       "granitehybrid",
	Config:     Keys{asWritten},
	Switch:     []Case{},
	Names:      mamba2Names.Also(granite.Names),
	Tensors:    hybridRules(hybridInner),
	Keys:       hybridKeys(hybridInner, graniteAttention, Any(Class("BambaForCausalLM"), noMamba)),
	Vocab:      vocab.SPMOrJSON,
	VocabCases: []VocabCase{},
	VocabInput: padVocabulary(Choose(noMamba, 1, 8)),
	Uneven:     true,
})

var (
	graniteOnly    = Register(Arch{Base: hybrid, GGUF: "granite"})
	graniteMoEOnly = Register(Arch{Base: hybrid, GGUF: "granitemoe"})
)

var _ = Register(Arch{
	Base: hybrid,
	HF:   []string{"GraniteMoeHybridForCausalLM", "BambaForCausalLM"},
	Switch: []Case{
		{If: All(noMamba, Opt(prefixed("num_experts_per_tok", "num_experts_per_token")...)), To: graniteMoEOnly},
		{If: noMamba, To: graniteOnly},
	},
})

func hybridRules(inner Expr) Rules {
	return graniteMoERules.Also(llama.Tensors, mamba2Rules(inner, hybridGroups))
}

// hybridKeys takes which layers are attention, and whether positions are rotary.
func hybridKeys(inner, attention, rotary Expr) Keys {
	return graniteMoE.Keys.Then(
		Set("ssm.conv_kernel", Cfg(prefixed("conv_kernel", "d_conv")...)),
		Set("ssm.state_size", Cfg(prefixed("state_size", "d_state", "state_dim", "ssm_state_size")...)),
		Set("ssm.group_count", hybridGroups),
		Set("ssm.inner_size", inner),
		Set("ssm.time_step_rank", Cfg(prefixed("n_heads", "num_heads")...)),
		Set("rope.dimension_count", nonZero("attn_rotary_emb")),
		Set("attention.head_count_kv", ByLayer(attention, Cfg(prefixed("num_key_value_heads", "n_head_kv")...), 0)),
		Set("rope.scaling.finetuned", rotary),
		Set("context_length", Choose(rotary, Const(nil), anyContext)),
		Fail(Not(Is(Opt("hidden_act"), nil, "silu")), "an activation other than silu"),
		Fail(Not(divides(Or(Opt(prefixed("d_head")...), 64), inner)), "an inner size that is no multiple of the head's"),
	)
}

// graniteAttention tells for each layer whether it is attention. It does not need the count of blocks, since it decides what
// the model is.
var graniteAttention = Fn("layers of attention by layer_types, attn_layer_indices or attn_layer_period", func(e *Env) (any, error) {
	n, err := e.Int(defaultBlocks)
	if err != nil || n < 0 || n > maxBlocks {
		return nil, cmp.Or(err, error(&fault.Invalid{On: "config.json", Says: fmt.Sprintf("%d layers, at most %d are converted", n, maxBlocks)}))
	}
	out := make([]bool, n)
	words, _ := asList(e.Config["layer_types"])
	for i, w := range words[:min(len(words), len(out))] {
		out[i] = w == "attention"
	}
	if len(words) > 0 {
		return out, nil
	}
	numbers, _ := asList(e.Config["attn_layer_indices"])
	for _, v := range numbers {
		if i, ok := v.(int64); ok && i >= 0 && i < n {
			out[i] = true
		}
	}
	if len(numbers) > 0 {
		return out, nil
	}
	period, err := e.Int(Cfg("attn_layer_period"))
	if err != nil {
		return nil, err
	}
	offset, err := e.Int(Cfg("attn_layer_offset"))
	for i := range out {
		out[i] = period > 0 && int64(i)%period == offset
	}
	return out, err
})

// noMamba holds where every layer is attention.
var noMamba = Fn("every layer is attention", func(e *Env) (any, error) {
	list, err := e.bools(graniteAttention)
	return !slices.Contains(list, false), err
})
