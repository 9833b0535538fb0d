package arch

// Mamba 1 and 2, and what Mamba's hybrids with attention share.
//
// Peculiar: config.json is taken as it stands, since transformers takes every Mamba 2 for Codestral; the vocabulary is padded; A
// is stored as its logarithm; a head that equals the embedding is left out; the context is as long as one likes.
//
// Source: llama.cpp v0.5.0, conversion/mamba.py: MambaModel, Mamba2Model.

import (
	"context"

	"quern/convert/config"
	"quern/convert/view"
	"quern/convert/vocab"
)

// asWritten takes config.json without what transformers would fill in.
var asWritten = Do("config.json as it stands", func(m *Meta) error {
	root := m.File.Clone()
	if inner, ok := root["llm_config"]; ok {
		root["text_config"] = inner
	}
	c := *m.Env
	c.Root = root
	var err error
	if c.Config, c.Rope, err = (&config.Config{Object: root}).Text(); err != nil {
		return err
	}
	m.Env = &c
	return nil
})

// anyContext stands for a model that no context is too long for.
const anyContext = 1 << 20

var (
	mambaWidth = Cfg("hidden_size", "d_model")
	mambaInner = Or(Opt("intermediate_size", "d_inner"), Mul(2, mambaWidth))
)

var _ = Register(Arch{
	HF:     []string{"MambaForCausalLM", "MambaLMHeadModel", "FalconMambaForCausalLM"},
	GGUF:   "mamba",
	Config: Keys{asWritten},
	Names:  TextNames,
	Tensors: Rules{
		On("*.A_log", NegExp),
		Named,
		On("*.ssm_conv1d.weight", SqueezeAll),
		Code("{token_embd|output}.weight", "the head is dropped where it equals the embedding", tiedHead),
	},
	Keys: Keys{
		Fail(Not(Is(Sub(mambaInner, Mul(2, mambaWidth)), 0)), "an inner size that is not twice the model's width"),
		Set("context_length", anyContext),
		Set("embedding_length", mambaWidth),
		Set("feed_forward_length", 0),
		Set("attention.head_count", 0),
		Set("block_count", BlockCount),
		Set("ssm.conv_kernel", Or(Opt("conv_kernel", "d_conv"), 4)),
		Set("ssm.inner_size", mambaInner),
		Set("ssm.state_size", Or(Opt("state_size", "d_state"), 16)),
		Set("ssm.time_step_rank", Or(Opt("time_step_rank", "dt_rank"), sixteenth(mambaWidth))),
		Set("attention.layer_norm_rms_epsilon", Or(Opt("layer_norm_epsilon", "rms_norm_eps"), 1e-5)),
		Set("ssm.dt_b_c_rms", Is(Opt("model_type"), "falcon_mamba")),
		FileTypeKey,
	},
	Vocab:      vocab.GPT2OrSPM,
	VocabInput: padVocabulary(CfgOr("pad_vocab_size_multiple", 8)),
})

// sixteenth is a 16th, rounded up: the usual rank of the time step.
func sixteenth(x Expr) Expr { return FloorDiv(Add(x, 15), 16) }

// padVocabulary rounds the number of tokens up to a multiple.
func padVocabulary(multiple any) func(*Env, *vocab.Input) error {
	size, n := Cfg("vocab_size"), asExpr(multiple)
	return func(e *Env, in *vocab.Input) error {
		var err error
		in.VocabSize, err = e.Int(Mul(FloorDiv(Add(size, Sub(n, 1)), n), n))
		return err
	}
}

// mamba2Names evens out Codestral's spelling and makes the time step's bias one of its projection.
var mamba2Names = Rules{
	rule("model.{backbone|lm_head}*", strip("model.")),
	Rename("*.dt_bias", ".dt_bias=>.dt_proj.bias"),
}

// mamba2Rules bring a state space with groups into shape.
func mamba2Rules(inner, groups Expr) Rules {
	return Rules{
		On("*.A_log", NegExp),
		Named,
		On("*.ssm_conv1d.weight", SqueezeAll),
		On("*.ssm_a|*.ssm_d", Unsqueeze(-1)),
		On("*.ssm_norm.weight", Reshape(groups, FloorDiv(inner, groups))),
	}
}

// prefixed are keys as they are, and after them with Mamba's prefix: how its hybrids with attention are asked.
func prefixed(keys ...string) []string {
	out := append([]string{}, keys...)
	for _, k := range keys {
		out = append(out, "mamba_"+k)
	}
	return out
}

// mamba2Keys begin Mamba 2 and Falcon-H1. keys spells the names of the configuration's keys.
func mamba2Keys(inner, groups Expr, keys func(...string) []string) Keys {
	return Keys{
		Set("context_length", anyContext),
		Set("embedding_length", Cfg(keys("hidden_size", "d_model", "dim")...)),
		Set("feed_forward_length", 0),
		Set("attention.head_count", 0),
		Set("block_count", BlockCount),
		Set("ssm.conv_kernel", Or(Opt(keys("conv_kernel", "d_conv")...), 4)),
		Set("ssm.inner_size", inner),
		Set("ssm.state_size", Or(Opt(keys("state_size", "d_state")...), 128)),
		Set("ssm.time_step_rank", FloorDiv(inner, mamba2Head(keys))),
		Set("ssm.group_count", groups),
		Set("attention.layer_norm_rms_epsilon", Or(Opt(keys("layer_norm_epsilon", "rms_norm_eps")...), 1e-5)),
		FileTypeKey,
	}
}

func mamba2Head(keys func(...string) []string) Expr {
	return Or(Opt(keys("mamba_d_head", "head_dim")...), 64)
}

func unprefixed(keys ...string) []string { return keys }

var (
	mamba2Width  = Mul(Or(Opt("mamba_expand", "expand"), 2), Cfg("hidden_size", "d_model", "dim"))
	mamba2Inner  = Or(Opt("mamba_d_ssm", "intermediate_size", "d_inner"), mamba2Width)
	mamba2Groups = Or(Opt("n_groups"), 1)
)

var _ = Register(Arch{
	HF:      []string{"Mamba2ForCausalLM"},
	GGUF:    "mamba2",
	Config:  Keys{asWritten},
	Names:   mamba2Names.Also(TextNames),
	Tensors: mamba2Rules(mamba2Inner, mamba2Groups),
	Keys: Keys{
		Fail(Not(Is(Sub(mamba2Inner, mamba2Width), 0)), "an inner size that is not the expanded width of the model"),
		Fail(Not(divides(mamba2Head(unprefixed), mamba2Inner)), "an inner size that is no multiple of the head's"),
	}.Also(mamba2Keys(mamba2Inner, mamba2Groups, unprefixed)),
	Vocab:      vocab.SPMOrJSON,
	VocabInput: padVocabulary(CfgOr("pad_vocab_size_multiple", 16)),
})

// divides holds where b is a multiple of a.
func divides(a, b Expr) Expr { return Is(Sub(b, Mul(FloorDiv(b, a), a)), 0) }

// tiedHead remembers the embedding and compares the head with it, which means reading both while the file is planned: the
// configuration does not say it. Source: conversion/mamba.py, MambaModel.modify_tensors.
func tiedHead(b *Build, it Item) ([]Item, error) {
	const seen = "embedding"
	if it.Name == "token_embd.weight" {
		b.Scratch[seen] = it.View
		return []Item{it}, nil
	}
	embedding, ok := b.Scratch[seen].(view.Tensor)
	if !ok {
		return []Item{it}, nil
	}
	same, err := sameValues(b.ctx, embedding, it.View)
	if same {
		b.drop(it.Source, "equals the embedding")
		return nil, err
	}
	return []Item{it}, err
}

// sameValues compares tensors up to the first difference, some rows at a time.
func sameValues(ctx context.Context, x, y view.Tensor) (bool, error) {
	if x.Rows() != y.Rows() || x.RowLen() != y.RowLen() {
		return false, nil
	}
	const chunk = 1 << 18 // bytes, of float32
	n, rows := max(1, chunk/(4*max(1, x.RowLen()))), x.Rows()
	for lo := int64(0); lo < rows; lo += n {
		var v [2][]float32
		for i, t := range []view.Tensor{x, y} {
			hi := min(lo+n, rows)
			raw := make([]byte, (hi-lo)*t.RowBytes())
			if err := t.ReadRows(ctx, raw, lo, hi); err != nil {
				return false, err
			}
			v[i] = make([]float32, (hi-lo)*t.RowLen())
			if err := view.Widen(v[i], raw, t.DType); err != nil {
				return false, err
			}
		}
		for i := range v[0] {
			if v[0][i] != v[1][i] {
				return false, nil
			}
		}
	}
	return true, nil
}
