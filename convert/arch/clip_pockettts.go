package arch

// Pocket TTS: the encoder of a voice to imitate, the network that flows from noise to a frame's latent, and the decoder that makes
// sound of it. The checkpoint has no config.json. Convolutions are told by their place in a list that the model is built from.
//
// Source: llama.cpp v0.5.0, conversion/pockettts.py: PocketTTSMmprojModel.

import (
	"fmt"
	"strconv"
	"strings"

	"quern/convert/gguf"
)

var _ = Register(Arch{
	Base:   audioTower,
	HF:     []string{"PocketTTSModel"},
	Vision: Const(nil),
	Blocks: Const(1),
	Names:  ProjectorRest,
	Tensors: append(append(Rules{
		Drop("flow_lm.bos_emb|flow_lm.bos_before_voice|flow_lm.conditioner.*|flow_lm.transformer.*|flow_lm.out_norm.*", notProjector),
		Rename("flow_lm.speaker_proj_weight", "a.speaker_proj.weight"),
		Rename("flow_lm.input_linear.weight", "a.gen.input_linear.weight"),
		pocketName("flow_lm.emb_mean", "a.gen.emb_mean"),
		pocketName("flow_lm.emb_std", "a.gen.emb_std"),
		nameAs("flow_lm.out_eos.*", "a.gen.out_eos"),
		nameAs("flow_lm.flow_net.input_proj.*", "a.gen.flow.input_proj"),
		nameAs("flow_lm.flow_net.cond_embed.*", "a.gen.flow.cond_embd"),
		nameAs("flow_lm.flow_net.final_layer.linear.*", "a.gen.flow.final.proj"),
		nameAs("flow_lm.flow_net.final_layer.adaLN_modulation.1.*", "a.gen.flow.final.ada"),
		Rename("mimi.downsample.conv.conv.weight", "a.downsample.conv.weight"),
		Rename("mimi.upsample.convtr.convtr.weight", "a.gen.wav.upsample.weight"),
		On("mimi.quantizer.output_proj.weight", squeezeOne(2)),
		Rename("mimi.quantizer.output_proj.weight", "a.gen.wav.quant_out.weight"),
		Code("mimi.{encoder|decoder}.model.*", "by its place", pocketConvolution),
	}, pocketBlocks()...), Drop("*", "not read by llama.cpp").Except("a.*")),
	Force: []Force{
		{Match: "*.seanet.*|a.downsample.conv.weight|a.gen.wav.upsample.weight", Type: gguf.F16},
	},
	Keys: Keys{
		FileTypeKey,
		Set("has_audio_encoder", true),
		Set("audio.projector_type", "pockettts_spkenc"),
		Set("audio.projection_dim", TextWidth),
		Set("audio.block_count", OfAudio(Cfg("num_hidden_layers"))),
		Set("audio.embedding_length", OfAudio(Cfg("hidden_size"))),
		Set("audio.feed_forward_length", OfAudio(Cfg("intermediate_size"))),
		Set("audio.attention.head_count", OfAudio(Cfg("num_attention_heads"))),
		Set("audio.attention.layer_norm_epsilon", 1e-5),
		Set("audio.num_mel_bins", 1),
		Set("has_gen_audio_encoder", true),
		Set("gen.audio.projector_type", "pockettts_gen"),
		Set("gen.audio.projection_dim", TextWidth),
		Set("gen.audio.embedding_length", OfAudio(Cfg("hidden_size"))),
		Set("gen.audio.feed_forward_length", OfAudio(Cfg("intermediate_size"))),
		Set("gen.audio.block_count", OfAudio(Cfg("num_hidden_layers"))),
		Set("gen.audio.attention.head_count", OfAudio(Cfg("num_attention_heads"))),
		Set("gen.audio.attention.layer_norm_epsilon", 1e-5),
		Set("gen.audio.model_variant", Fn("name of the folder", func(e *Env) (any, error) { return e.Dir, nil })),
	},
})

// pocketName gives a tensor a name that has no end.
func pocketName(p Pattern, name string) Rule {
	return Code(p, "name "+name, func(_ *Build, it Item) ([]Item, error) {
		it.Name, it.Final = name, true
		return []Item{it}, nil
	})
}

// pocketBlocks name what is numbered: the layers of both transformers, and the flow's blocks and embeddings of time.
func pocketBlocks() Rules {
	var out Rules
	for _, t := range [][2]string{{"mimi.encoder_transformer", "a.blk.%d."}, {"mimi.decoder_transformer", "a.gen.wav.tfm.blk.%d."}} {
		layer, to := t[0]+".transformer.layers.#.", t[1]
		out = append(out, Code(Pattern(layer+"self_attn.in_proj.weight"), "query, key and value", pocketThirds(to)))
		for _, n := range [][2]string{{"layer_scale_1.scale", "ls1.weight"}, {"layer_scale_2.scale", "ls2.weight"}} {
			out = append(out, numbered(Pattern(layer+n[0]), to+n[1]))
		}
		for _, n := range [][2]string{{"norm1", "ln1"}, {"norm2", "ln2"}, {"self_attn.out_proj", "attn_out"}, {"linear1", "ffn_up"}, {"linear2", "ffn_down"}} {
			for _, end := range []string{".weight", ".bias"} {
				out = append(out, numbered(Pattern(layer+n[0]+end), to+n[1]+end))
			}
		}
	}
	const net = "flow_lm.flow_net."
	for _, n := range [][2]string{{"time_embed.#.freqs", "time.%d.freqs"}, {"time_embed.#.mlp.3.alpha", "time.%d.norm"}} {
		out = append(out, numbered(Pattern(net+n[0]), "a.gen.flow."+n[1]))
	}
	for _, n := range [][2]string{{"time_embed.#.mlp.0", "time.%d.up"}, {"time_embed.#.mlp.2", "time.%d.down"}, {"res_blocks.#.in_ln", "blk.%d.norm"},
		{"res_blocks.#.mlp.0", "blk.%d.up"}, {"res_blocks.#.mlp.2", "blk.%d.down"}, {"res_blocks.#.adaLN_modulation.1", "blk.%d.ada"}} {
		for _, end := range []string{".weight", ".bias"} {
			out = append(out, numbered(Pattern(net+n[0]+end), "a.gen.flow."+n[1]+end))
		}
	}
	return out
}

// pocketThirds splits a fused projection.
func pocketThirds(to string) func(b *Build, it Item) ([]Item, error) {
	return func(b *Build, it Item) ([]Item, error) {
		name := func(part string) Part { return Part{To: fmt.Sprintf(to, it.Block) + part + ".weight"} }
		items, err := split{0, []Part{name("attn_q"), name("attn_k"), name("attn_v")}}.apply(b, it)
		for i := range items {
			items[i].Final = true
		}
		return items, err
	}
}

// pocketConvolution names a convolution of the encoder or the decoder: the first, the last, and by stages one that changes the rate
// and a block of two. Source: conversion/pockettts.py.
func pocketConvolution(_ *Build, it Item) ([]Item, error) {
	const stages = 3
	parts := strings.Split(it.Name, ".")
	at, err := strconv.Atoi(parts[3])
	if err != nil {
		return []Item{it}, nil
	}
	end := "." + parts[len(parts)-1]
	base, scale, block := "a.seanet.", 3, 1 // places of the first stage
	if parts[1] == "decoder" {
		base, scale, block = "a.gen.wav.seanet.", 2, 3
	}
	it.Final = true
	switch {
	case at == 0:
		it.Name = base + "conv_in" + end
	case at == 3*stages+2:
		it.Name = base + "conv_out" + end
	case at >= scale && (at-scale)%3 == 0 && (at-scale)/3 < stages:
		it.Name = fmt.Sprintf("%sblk.%d.scale_conv%s", base, (at-scale)/3, end)
	case at >= block && (at-block)%3 == 0 && (at-block)/3 < stages:
		conv := "res_conv2"
		if strings.Contains(it.Name, ".block.1.") {
			conv = "res_conv1"
		}
		it.Name = fmt.Sprintf("%sblk.%d.%s%s", base, (at-block)/3, conv, end)
	}
	return []Item{it}, nil
}
