package arch

// LFM2-Audio: a conformer whose feed-forward width is not stated; the parts that write sound are left out.
//
// Source: llama.cpp v0.5.0, conversion/lfm2.py: LFM2AudioModel.

var _ = Register(Arch{
	Base:  audioTower,
	HF:    []string{"Lfm2AudioForConditionalGeneration"},
	Audio: Opt("encoder"),
	Config: Keys{
		LetAudio("hidden_size", OfAudio(Cfg("d_model"))),
		LetAudio("intermediate_size", OfAudio(Cfg("d_model"))),
		LetAudio("num_attention_heads", OfAudio(Cfg("n_heads"))),
	},
	Names: Rules{
		Drop("lfm.*", notProjector),
		Drop("*audio_loss_weight*|*codebook_offsets*|*depth_embeddings*|*depth_linear*|*depthformer*", "for training, or for the sound that the model writes"),
	}.Also(ProjectorRest),
	Tensors: conformerTensors,
	Force:   append(conformerForce, PatchTypes...),
	Keys: audioTower.Keys.Then(
		Set("projector_type", "lfm2a"),
		Set("audio.num_mel_bins", OfAudio(Cfg("feat_in"))),
		Set("audio.attention.layer_norm_epsilon", 1e-5),
	),
})
