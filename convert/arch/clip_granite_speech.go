package arch

// Granite Speech: a conformer of its own names, whose keys and values are fused, and a query-former over windows of frames. Plus
// gives the projector some more layers of the encoder.
//
// Source: llama.cpp v0.5.0, conversion/granite.py: GraniteSpeechMmprojModel, GraniteSpeechPlusMmprojModel.

import (
	"fmt"

	"quern/convert/gguf"
	"quern/convert/view"
)

var graniteSpeech = Register(Arch{
	Base:  audioTower,
	HF:    []string{"GraniteSpeechForConditionalGeneration"},
	Audio: Opt("encoder_config"),
	Config: Keys{
		LetAudio("hidden_size", OfAudio(Cfg("hidden_dim"))),
		LetAudio("intermediate_size", OfAudio(Mul(Cfg("hidden_dim"), Cfg("feedforward_mult")))),
		LetAudio("num_attention_heads", OfAudio(Cfg("num_heads"))),
		LetAudio("num_hidden_layers", OfAudio(Cfg("num_layers"))),
	},
	Names: Rules{Drop("*attention_dists*|*num_batches_tracked*", "not used")}.Also(ProjectorRest),
	Tensors: Rules{
		batchNorms("*encoder.layers.*batch_norm*", "encoder.layers.%d.conv.batch_norm.", batchNormParts...),
		Split("*.attn.to_kv.weight*", 0, Part{To: "to_kv=>to_k"}, Part{To: "to_kv=>to_v"}),
		On("*{up|down}_conv*.weight", squeezeOne(2)),
		On("*depth_conv*.weight", squeezeOne(1)),
	},
	Force: append([]Force{
		{From: "*encoder*.conv*.weight*", Type: gguf.F32},
		{From: "*projector*.conv*.weight*", Type: gguf.F32},
	}, PatchTypes...),
	Keys: audioTower.Keys.Then(
		Set("projector_type", "granite_speech"),
		Set("audio.num_mel_bins", OfAudio(Cfg("input_dim"))),
		Set("audio.attention.layer_norm_epsilon", 1e-5),
		Set("audio.chunk_size", OfAudio(Cfg("context_size"))),
		Set("audio.conv_kernel_size", OfAudio(Cfg("conv_kernel_size"))),
		Set("audio.max_pos_emb", OfAudio(Cfg("max_pos_emb"))),
		Set("audio.projector.window_size", OfRoot(Cfg("window_size"))),
		Set("audio.projector.downsample_rate", OfRoot(Cfg("downsample_rate"))),
		Set("audio.projector.head_count", OfRoot(In("projector_config", Cfg("num_attention_heads")))),
	),
})

var graniteMore = OfAudio(Opt("cat_hidden_layers"))

var _ = Register(Arch{
	Base: graniteSpeech,
	HF:   []string{"GraniteSpeechPlusForConditionalGeneration"},
	Keys: graniteSpeech.Keys.Also(When(Or(graniteMore, false),
		Set("audio.feature_layer", graniteMore),
		Fail(Not(Equal(OfRoot(In("projector_config", Cfg("encoder_hidden_size"))), Mul(OfAudio(Cfg("hidden_dim")), Add(Length(graniteMore), 1)))),
			"its projector is not as wide as the encoder's layers side by side"),
	)),
})

// squeezeOne drops one of three dimensions where its extent is one.
func squeezeOne(axis int) Transform {
	return View(fmt.Sprintf("drop axis %d of extent 1", axis), func(_ *Build, _ Item, v view.Tensor) (view.Tensor, error) {
		if len(v.Shape) != 3 || v.Shape[axis] != 1 {
			return v, nil
		}
		return view.Squeeze(v, axis)
	})
}

// Length is the number of elements of a list.
func Length(x Expr) Expr {
	return Fn("length of "+x.String(), func(e *Env) (any, error) {
		v, err := x.Eval(e)
		list, _ := asList(v)
		return int64(len(list)), err
	})
}
