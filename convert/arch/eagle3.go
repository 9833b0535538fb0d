package arch

// EAGLE-3: a draft of one Llama layer that reads its target's hidden states.
//
// Peculiar: told by its configuration, not by its class; needs the target's configuration and tokenizer; the table from draft
// tokens to target tokens is stored as differences and written, last, as ids.

import (
	"fmt"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/safetensors"
	"quern/convert/view"
)

var eagle3 = Register(Arch{
	Base: &llamaBase,
	GGUF: "eagle3",
	Names: llamaBase.Names.Then(
		Rename("midlayer.*", "midlayer.=>model.layers.0."),
		Rename("layers.0.*", "=>model."),
	),
	Tensors: Rules{
		Code("fc.weight", "written under its own name", func(_ *Build, it Item) ([]Item, error) {
			it.Final = true
			return []Item{it}, nil
		}),
		Rename("input_norm.weight", "@enc_output_norm"),
		Rename("*.hidden_norm.weight", "@attn_norm_2"),
		Drop("t2d", "not used at run time"),
		Code("d2t", "differences become ids of the target, at the end of the file", func(b *Build, it Item) ([]Item, error) {
			b.Last(func() error { return draftTokens(b, it, targetVocab) })
			return nil, nil
		}),
	}.Also(llamaRules),
	Opening: Keys{
		Fail(Fn("no target model", func(e *Env) (any, error) { return e.Target == nil, nil }),
			"an EAGLE-3 draft needs the model that it was made for: --target-model-dir"),
		Set("target_layers", targetLayers),
		Set("target_hidden_size", Else(fileKey("target_hidden_size"), targetKey("hidden_size"))),
		Set("norm_before_residual", Else(fileKey("norm_before_residual"), false)),
		Set("norm_before_fc", Else(fileKey("norm_before_fc"), false)),
	},
	VocabFrom: FromTarget,
	Odd:       []string{"token_embd", "attn_q", "attn_k", "attn_v"}, // two hidden states go in; the embedding may be the target's
})

// fileKey is a key of config.json as it stands in the checkpoint; nil where absent.
func fileKey(key string) Expr {
	return Fn("config.json's "+key, func(e *Env) (any, error) { return e.File[key], nil })
}

// targetKey is a key of the target's config.json, of its text model first.
func targetKey(key string) Expr {
	return Fn("the target's "+key, func(e *Env) (any, error) {
		if e.Target == nil {
			return nil, &fault.Invalid{On: e.HF, Says: "the model that the draft was made for is not given", Next: "--target-model-dir names its folder"}
		}
		file := e.Target.Config.Raw
		if text, ok := file.Object("text_config"); ok {
			file = file.Merge(text)
		}
		if v, ok := file[key]; ok && v != nil {
			return v, nil
		}
		return nil, &fault.Invalid{On: "the target's config.json", Says: "no " + key}
	})
}

var targetVocab = targetKey("vocab_size")

// targetLayers are the layers whose hidden states the draft reads: as stated, or the usual three.
var targetLayers = Fn("eagle_aux_hidden_state_layer_ids, or 2, n/2 and n-3 of the target's n layers", func(e *Env) (any, error) {
	if v := e.File["eagle_aux_hidden_state_layer_ids"]; config.Truth(v) {
		return v, nil
	}
	n, err := e.Int(targetKey("num_hidden_layers"))
	return []int64{2, n / 2, n - 3}, err
})

// draftTokens writes the table from draft tokens to target tokens. It is small, so it is checked while the file is planned.
func draftTokens(b *Build, it Item, size Expr) error {
	limit, err := b.Int(size)
	if err != nil {
		return err
	}
	diffs, err := b.Ints(it.View)
	if err != nil {
		return err
	}
	seen := make(map[int64]bool, len(diffs))
	for i := range diffs {
		diffs[i] += int64(i)
		if id := diffs[i]; id < 0 || id >= limit || seen[id] {
			return &fault.Invalid{On: it.Source, Says: fmt.Sprintf("draft token %d stands for token %d, which is not among the target's %d or stands twice", i, id, limit)}
		}
		seen[diffs[i]] = true
	}
	flat, err := view.Reshape(it.View, -1)
	if err != nil {
		return err
	}
	ids, err := view.MapInts(flat, safetensors.I64, func(at int64, v []int64) {
		for i := range v {
			v[i] += at + int64(i)
		}
	})
	if err != nil {
		return err
	}
	return b.Emit("d2t", gguf.I64, ids, it.Source, true)
}
