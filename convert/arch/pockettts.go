package arch

// Pocket TTS: the transformer that hears text and writes sound, frame by frame.
//
// Peculiar: the checkpoint has no config.json; its shapes say what it is. Two learned vectors that stand for no token, the
// beginnings of voice and of sound, become rows behind the embedding; that of sound lives in another space, from which a matrix
// leads. There is no head. All that makes sound is a projector's.
//
// Source: llama.cpp v0.5.0, conversion/pockettts.py: PocketTTSModel.

import (
	"slices"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/safetensors"
	"quern/convert/view"
	"quern/convert/vocab"
)

const (
	pocketVoice = "flow_lm.bos_before_voice" // not every pack has it
	pocketSound = "flow_lm.bos_emb"
	pocketInto  = "flow_lm.input_linear.weight"
	pocketEmbed = "flow_lm.conditioner.embed.weight"
)

var _ = Register(Arch{
	HF:    []string{"PocketTTSModel"},
	GGUF:  "pockettts",
	Names: TextNames,
	Tensors: Rules{
		Code(pocketEmbed, "the learned vectors behind it", pocketEmbedding),
		Code(pocketVoice+"|"+pocketSound+"|"+pocketInto, "part of the embedding", func(*Build, Item) ([]Item, error) { return nil, nil }),
		Rename("flow_lm.out_norm.*", "@output_norm"),
		Split("flow_lm.transformer.layers.#.self_attn.in_proj.weight", 0, Part{To: "@attn_q"}, Part{To: "@attn_k"}, Part{To: "@attn_v"}),
		Rename("flow_lm.transformer.layers.#.self_attn.out_proj.*", "@attn_out"),
		Rename("flow_lm.transformer.layers.#.norm1.*", "@attn_norm"),
		Rename("flow_lm.transformer.layers.#.norm2.*", "@ffn_norm"),
		Rename("flow_lm.transformer.layers.#.linear1.*", "@ffn_up"),
		Rename("flow_lm.transformer.layers.#.linear2.*", "@ffn_down"),
		Drop("*", "part of the projector").Except("token_embd.*|output_norm.*|blk.*"),
	},
	Keys:  TextKeys,
	Vocab: vocab.PocketTTS,
	VocabInput: func(e *Env, in *vocab.Input) error {
		in.Codec = []string{"<|pad|>", "<|bos_before_voice|>", "<|audio_bos|>"}
		if !e.HasTensor(pocketVoice) {
			in.Codec = slices.Delete(in.Codec, 1, 2)
		}
		return nil
	},
})

// pocketConfig is the configuration that a checkpoint without one has by its shapes; ok is false for other checkpoints.
// Source: conversion/pockettts.py, _load_hparams.
func pocketConfig(tensors []view.Tensor) (config.Object, bool, error) {
	shapes := map[string][]int64{}
	layers := [2]int64{}
	for i, t := range tensors {
		shapes[t.Name] = tensors[i].Shape
		for j, stack := range []string{"flow_lm.transformer", "mimi.encoder_transformer.transformer"} {
			if Pattern(stack + ".layers.#.norm1.weight").Match(t.Name) {
				layers[j]++
			}
		}
	}
	if _, ok := shapes[pocketSound]; !ok {
		return nil, false, nil
	}
	var missing []string
	size := func(name string, axis int) int64 {
		if s := shapes[name]; axis < len(s) {
			return s[axis]
		}
		missing = append(missing, name)
		return 0
	}
	const encoder = "mimi.encoder_transformer.transformer.layers.0."
	width, inner := size(pocketEmbed, 1), size("flow_lm.transformer.layers.0.linear1.weight", 0)
	audio, audioInner := size(encoder+"norm1.weight", 0), size(encoder+"linear1.weight", 0)
	tokens := size(pocketEmbed, 0) + 1
	if _, ok := shapes[pocketVoice]; ok {
		tokens++
	}
	if len(missing) > 0 {
		return nil, false, &fault.Invalid{On: "checkpoint", Says: "without config.json and without " + strings.Join(missing, ", ")}
	}
	const head = 64 // in all published packs
	return config.Object{
		"architectures": []any{"PocketTTSModel"}, "model_type": "pockettts",
		"num_hidden_layers": layers[0], "hidden_size": width, "intermediate_size": inner, "num_attention_heads": width / head,
		"max_position_embeddings": int64(4096), "vocab_size": tokens, "rope_theta": 10000.0, "layer_norm_eps": 1e-5,
		"audio_config": config.Object{"num_hidden_layers": layers[1], "hidden_size": audio, "intermediate_size": audioInner,
			"num_attention_heads": audio / head},
	}, true, nil
}

// pocketEmbedding is the embedding with the learned vectors behind it.
func pocketEmbedding(b *Build, it Item) ([]Item, error) {
	named := map[string]view.Tensor{}
	for _, t := range b.Env.Tensors {
		named[t.Name] = t
	}
	rows := []view.Tensor{it.View}
	add := func(v view.Tensor, err error) error {
		if err == nil {
			v, err = view.Reshape(v, 1, -1)
		}
		if err == nil && it.View.DType == safetensors.F16 {
			v, err = view.Cast(v, safetensors.F16)
		}
		rows = append(rows, v)
		return err
	}
	if v, ok := named[pocketVoice]; ok {
		if err := add(v, nil); err != nil {
			return nil, err
		}
	}
	if err := add(b.product(named[pocketInto], named[pocketSound])); err != nil {
		return nil, err
	}
	var err error
	if it.View, err = concat(rows); err != nil {
		return nil, &fault.Invalid{On: it.Source, Says: "the learned vectors have another width", Err: err}
	}
	it.Name, err = b.renamed("@token_embd", it)
	return []Item{it}, err
}

// product is a small matrix times a vector, in float64: torch's order of summation here is not known, so an element may
// differ from the reference's by one unit in the last place of a float32.
func (b *Build) product(m, v view.Tensor) (view.Tensor, error) {
	if len(m.Shape) != 2 || v.Elements() != m.Shape[1] || v.Elements() == 0 {
		return m, &fault.Invalid{On: pocketInto, Says: "shape " + dims(m.Shape) + " for a vector of shape " + dims(v.Shape)}
	}
	x, err := b.Floats(v)
	if err != nil {
		return m, err
	}
	weights, err := b.Floats(m)
	if err != nil {
		return m, err
	}
	out := make([]float32, m.Shape[0])
	for i := range out {
		sum := 0.0
		for k, w := range weights[i*len(x) : (i+1)*len(x)] {
			sum += float64(float64(w) * float64(x[k]))
		}
		out[i] = float32(sum)
	}
	return view.Values(pocketSound, m.Shape[:1], out)
}
