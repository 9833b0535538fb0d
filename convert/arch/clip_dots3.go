package arch

// dots3.note sees and hears. Its vision tower is a pyramid: blocks have more and more experts, or none; "hidden_size" is the width
// behind the adapter, embed_dim the tower's. The audio tower's sizes stand in its whisper_config. Much is fixed in llama.cpp's
// graph, so other values are refused.
//
// Source: llama.cpp v0.5.0, conversion/dots3.py: Dots3NoteMmprojModel.

import (
	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/gguf"
)

var _ = Register(Arch{
	Base: bothTowers,
	HF:   []string{"Dots3NoteForCausalLM", "Dots3NoteForConditionalGeneration"},
	Audio: Fn("audio_config with the sizes of its whisper_config", func(e *Env) (any, error) {
		o, _ := e.Config.Object("audio_config")
		w, ok := o.Object("whisper_config")
		if !ok {
			return nil, &fault.Invalid{On: "config.json: audio_config", Says: "no whisper_config"}
		}
		return o.Merge(config.Object{"hidden_size": w["d_model"], "intermediate_size": w["encoder_ffn_dim"],
			"num_attention_heads": w["encoder_attention_heads"], "num_hidden_layers": w["encoder_layers"]}), nil
	}),
	Config: Keys{
		Do("lift the processor's vision_config", func(m *Meta) error {
			inner, _ := m.processor.Object("vision_config")
			c := *m.Env
			c.processor = m.processor.Merge(inner)
			m.Env = &c
			return nil
		}),
		Let("hidden_size", Cfg("embed_dim")),
		Let("image_size", 0), // any resolution
		Let("pyramid", Fn("pyramid_num_routed, at least 0", dots3Pyramid)),
		Fail(Not(All(Is(Opt("adapter_type"), "patch_merger"), Opt("pre_pixel_shuffle"))), "its vision adapter is not a patch_merger behind a pixel shuffle"),
		Fail(Not(All(Is(CfgOr("router_scoring_func", "sigmoid"), "sigmoid"), Is(CfgOr("router_scale", 1.0), 1.0))), "its vision router is not a sigmoid with scale 1"),
		Fail(Not(All(Is(CfgOr("temporal_patch_size", 1), 1), Not(truthOf("use_bias")), truthOf("use_qk_norm"))), "its vision tower has biases, frames or no norms of query and key"),
		Fail(Not(OfAudio(All(truthOf("use_conv2d_stem"), truthOf("use_rope"), truthOf("use_rms_norm"), Not(truthOf("use_causal"))))), "its audio tower is of another kind"),
		Fail(Not(OfAudio(In("whisper_config", Is(Opt("activation_function"), "swiglu")))), "its audio tower's activation is not swiglu"),
		Fail(Not(OfAudio(All(Is(CfgOr("merge_factor", 1), 1), Is(Opt("chunk_seconds"), 60)))), "its sound is not cut into minutes"),
		Fail(Not(OfAudio(In("rope_parameters", All(Is(Opt("partial_rotary_factor"), 0.5), Is(Opt("rope_theta"), 10000.0))))), "its audio tower has other rope parameters"),
	},
	Names: Rules{Only("vision_encoder.*|audio_encoder.*")}.Also(ProjectorRest),
	Tensors: Rules{
		Rename("*.{gate_weight|router_bias}", "+.weight"),
		Split("*.speech_encoder.layers.*.fc1.*", 0, Part{To: ".fc1.=>.fc1_gate."}, Part{To: ".fc1.=>.fc1_up."}),
		Stack("vision_encoder.blocks.{b}.mlp.experts.{x}.{w}.weight", AtBlock(Cfg("pyramid")), "vision_encoder.blocks.{b}.mlp.experts.{w}.weight", "fc1", "fc2", "fc3"),
	},
	Force: append([]Force{
		{Match: "*.ffn_gate_inp.*|*.exp_probs_b.*", Type: gguf.F32}, // scores of experts are nearly tied
		{Match: "*.conv2d*|*a.conv_out*", Type: gguf.F32},
	}, PatchTypes...),
	Keys: bothTowers.Keys.Then(
		Set("vision.projector_type", "dots3note_v"),
		Set("use_silu", true),
		Set("vision.attention.layer_norm_epsilon", Cfg("rms_norm_eps")),
		Set("vision.spatial_merge_size", Cfg("spatial_merge_size")),
		Set("vision.image_min_pixels", OfProcessor(Cfg("min_pixels"))),
		Set("vision.image_max_pixels", OfProcessor(Cfg("max_pixels"))),
		Set("vision.expert_count_per_layer", Cfg("pyramid")),
		Set("vision.expert_used_count", Trunc(Cfg("capacity_factor"))),
		Set("audio.projector_type", "dots3note_a"),
		Set("audio.num_mel_bins", OfAudio(In("whisper_config", Cfg("num_mel_bins")))),
		Set("audio.attention.layer_norm_epsilon", 1e-6),
	),
})

func truthOf(key string) Expr {
	return Fn(key+" holds", func(e *Env) (any, error) { return e.Config.True(key), nil })
}

func dots3Pyramid(e *Env) (any, error) {
	list, ok := e.Config.Ints("pyramid_num_routed")
	if !ok {
		return nil, &fault.Invalid{On: "config.json: pyramid_num_routed", Says: "a list of integers is needed"}
	}
	out := make([]int64, len(list))
	for i, n := range list {
		out[i] = max(0, n)
	}
	return out, nil
}
