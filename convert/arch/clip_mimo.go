package arch

// MiMo-V2.5: a tower with windows in rows or columns by layer and fewer key-value heads, and an audio tokenizer in a folder of its own,
// whose tensors come first and whose codebooks become one stack, filled up with zeros to the largest.
//
// Source: llama.cpp v0.5.0, conversion/mimo.py: MiMoV2VisionAudioModel.

import (
	"fmt"
	"path"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/safetensors"
	"quern/convert/view"
)

const mimoFolder = "audio_tokenizer"

// mimoAudio is the tokenizer's own configuration.
var mimoAudio = Fn(mimoFolder+"/config.json", func(e *Env) (any, error) {
	v, err := e.readJSON(path.Join(mimoFolder, "config.json"))
	if err != nil {
		return nil, err
	}
	o, ok := v.(config.Object)
	if !ok {
		return nil, &fault.Invalid{On: path.Join(mimoFolder, "config.json"), Says: "an object is needed, where codes are made of sound"}
	}
	return o, nil
})

var mimoSound = func(key string) Expr { return OfRoot(In("audio_config", Trunc(Cfg(key)))) }

var _ = Register(Arch{
	Base:  bothTowers,
	HF:    []string{"MiMoV2ForCausalLM"},
	Audio: mimoAudio,
	Config: Keys{
		Let("image_size", CfgOr("image_size", 560)),
		Let("num_attention_heads", CfgOr("num_heads", 32)),
		Let("num_hidden_layers", CfgOr("depth", 28)),
	}.Also(qwenSoundConfig),
	Names: Rules{Only("visual.*|speech_embeddings.*|audio_encoder.*")}.Also(ProjectorRest),
	Extra: []Generate{{Doc: "the audio tokenizer, in " + mimoFolder, Make: mimoTokenizer}},
	Tensors: Rules{
		frames("visual.patch_embed.proj.weight"),
		Stack("speech_embeddings.{x}.weight", mimoSound("audio_channels"), "mm.a.code_embd.weight"),
		Rename("audio_encoder.projection.mlp.0.weight", "mm.a.mlp.1.weight"),
		Rename("audio_encoder.projection.mlp.2.weight", "mm.a.mlp.2.weight"),
	}.Also(whisperBiases),
	Force: append([]Force{
		{Match: "a.rvq.codebook.weight|mm.a.code_embd.weight", Type: gguf.F32},
		{From: "*encoder.{conv|down_sample_layer}*.weight", Type: gguf.F32},
	}, PatchTypes...),
	Keys: bothTowers.Keys.Then(
		Set("vision.projector_type", "mimovl"),
		Set("use_silu", true),
		Set("vision.attention.head_count_kv", Trunc(CfgOr("num_key_value_heads", 8))),
		Set("vision.spatial_merge_size", Trunc(Cfg("spatial_merge_size"))),
		Set("vision.window_size", Trunc(Cfg("visual_token_window_size"))),
		Set("vision.wa_pattern_mode", Or(Opt("vit_window_attn_types"), Const(nil))),
		Set("vision.attention.layer_norm_epsilon", Mul(1.0, CfgOr("rms_norm_eps", 1e-6))),
		Set("vision.image_min_pixels", Trunc(OfProcessor(Cfg("min_pixels")))),
		Set("vision.image_max_pixels", Trunc(OfProcessor(Cfg("max_pixels")))),
		Set("audio.projector_type", "mimo_audio"),
		Set("audio.num_mel_bins", OfAudio(Cfg("n_mels"))),
		Set("audio.attention.layer_norm_epsilon", OfAudio(CfgOr("layer_norm_eps", 1e-5))),
		Do("sizes of the codebooks", func(m *Meta) error {
			sizes, _ := m.b.Scratch["codebooks"].([]int64)
			if err := m.Set("audio.rvq.num_quantizers", int64(len(sizes))); err != nil {
				return err
			}
			return m.Set("audio.rvq.codebook_size", sizes)
		}),
		Set("audio.wa_pattern_mode", mimoSoundWindows),
		Set("audio.window_size", Trunc(At(OfAudio(Cfg("encoder_attn_window_size")), 0))),
		Set("audio.local_block_count", mimoSound("input_local_layers")),
		Set("audio.local_group_size", mimoSound("group_size")),
	),
})

// mimoSoundWindows is for each layer of the audio encoder 0 where it looks at a window and -1 where it looks at everything.
var mimoSoundWindows = Fn("windows but in every swa_per_block-th layer", func(e *Env) (any, error) {
	layers, err := e.Int(OfAudio(Cfg("encoder_layers")))
	if err != nil {
		return nil, err
	}
	every, err := e.Int(OfAudio(CfgOr("swa_per_block", 1)))
	if err != nil {
		return nil, err
	}
	if layers < 0 || layers > maxBlocks {
		return nil, &fault.Invalid{On: mimoFolder + "/config.json: encoder_layers", Says: fmt.Sprintf("%d layers, at most %d", layers, maxBlocks)}
	}
	hybrid, err := e.Truth(OfAudio(Opt("hybrid_attention")))
	out := make([]int64, layers)
	for i := range out {
		if !hybrid || every <= 1 || int64(i)%every == every-1 {
			out[i] = -1
		}
	}
	return out, err
})

func mimoTokenizer(b *Build) ([]Item, error) {
	list, err := b.tensorsOf(path.Join(mimoFolder, denseFile))
	if err != nil {
		return nil, err
	}
	var out []Item
	books := map[string]view.Tensor{}
	const before, behind = "encoder.quantizer.vq.layers.", "._codebook.embed"
	for _, t := range list {
		number, isBook := strings.CutPrefix(t.Name, before)
		number, ends := strings.CutSuffix(number, behind)
		switch {
		case strings.HasPrefix(t.Name, "decoder."), hasSuffix(t.Name, "_codebook.cluster_size", "_codebook.embed_avg", "_codebook.inited"):
		case isBook && ends && isDigits(number):
			books[number] = t
		default:
			out = append(out, Item{Name: t.Name, View: t})
		}
	}
	stack, sizes, err := mimoBooks(books)
	b.Scratch["codebooks"] = sizes
	return append(out, Item{Name: "a.rvq.codebook.weight", View: stack}), err
}

// mimoBooks stacks codebooks by number, filled up with zeros to the size of the largest.
func mimoBooks(books map[string]view.Tensor) (view.Tensor, []int64, error) {
	rows := make([]view.Tensor, len(books))
	sizes := make([]int64, len(books))
	most := int64(0)
	for i := range rows {
		t, ok := books[fmt.Sprint(i)]
		if !ok || len(t.Shape) != 2 {
			return t, nil, &fault.Invalid{On: path.Join(mimoFolder, denseFile), Says: fmt.Sprintf("no codebook %d of %d, or no matrix", i, len(rows))}
		}
		rows[i], sizes[i] = t, t.Shape[0]
		most = max(most, t.Shape[0])
	}
	if len(rows) == 0 {
		return view.Tensor{}, nil, &fault.Invalid{On: path.Join(mimoFolder, denseFile), Says: "no codebooks"}
	}
	for i := range rows {
		var err error
		if rows[i], err = view.Cast(rows[i], safetensors.F32); err == nil {
			rows[i], err = view.PadRows(rows[i], most)
		}
		if err != nil {
			return rows[i], nil, err
		}
	}
	v, err := view.Stack(rows...)
	return v, sizes, err
}
