package arch

// PLaMo 1, 2 and 3 (Preferred Networks).
//
// Peculiar: query heads of PLaMo 1 share key-value heads in turn, not in groups, so they are put in groups; norms of the others are
// stored as differences from what they multiply by, which is smaller behind a mixer or a network; PLaMo 2 has Mamba in every
// second layer or so.
//
// Source: llama.cpp v0.5.0, conversion/plamo.py: PlamoModel, Plamo2Model, Plamo3Model.

import (
	"math"

	"quern/convert/vocab"
)

// The configuration's num_key_value_heads is wrong; the reference has 5 for it, and 5120 for the width, of its one size.
var (
	plamoShared = CfgOr("n_shared_head", 8)
	plamoKeys   = FloorDiv(Cfg("num_attention_heads"), plamoShared)
	plamoWidth  = Cfg("hidden_size")
)

var _ = Register(Arch{
	HF:    []string{"PlamoForCausalLM"},
	GGUF:  "plamo",
	Names: TextNames,
	Tensors: Rules{
		Named,
		On("*.attn_q.weight", Reshape(plamoShared, plamoKeys, -1, plamoWidth), Permute(1, 0, 2, 3), Reshape(-1, plamoWidth)),
		On("*.attn_output.weight", Reshape(plamoWidth, plamoShared, plamoKeys, -1), Permute(0, 2, 1, 3), Reshape(plamoWidth, -1)),
	},
	Keys: Keys{
		Set("context_length", 4096),
		Set("embedding_length", plamoWidth),
		Set("feed_forward_length", Cfg("intermediate_size")),
		Set("block_count", BlockCount),
		Set("attention.head_count", Cfg("num_attention_heads")),
		Set("attention.head_count_kv", plamoKeys),
		Set("attention.layer_norm_rms_epsilon", Cfg("rms_norm_eps")),
		FileTypeKey,
	},
	Vocab: vocab.SPM,
})

// plamoNorms make norms what they multiply by.
var plamoNorms = Rules{
	On("*.{pre_mixer_norm|pre_mlp_norm|norm}.weight", Plus(1)),
	On("*.post_mixer_norm.weight", Plus(0.2)),
	On("*.post_mlp_norm.weight", Plus(1/math.Pow(5, 1.5))),
}

var (
	plamoMamba = Fn("layers of mamba by mamba_step", func(e *Env) (any, error) {
		step, err := e.Int(CfgOr("mamba_step", 2))
		out := make([]bool, e.Blocks)
		for i := range out {
			switch at := int64(i); {
			case e.Blocks <= step/2: // so few layers that only the last is attention
				out[i] = at != e.Blocks-1
			case step > 0:
				out[i] = at%step != step/2
			}
		}
		return out, err
	})
	plamoHeads    = CfgOr("mamba_num_heads", 64)
	plamoHeadSize = CfgOr("hidden_size_per_head", 128)
)

var _ = Register(Arch{
	HF:    []string{"Plamo2ForCausalLM", "PLaMo2ForCausalLM"},
	GGUF:  "plamo2",
	Names: TextNames,
	Tensors: Rules{
		On("*.A_log", NegExp),
		Rename("*.dt_bias", ".dt_bias=>.dt_proj.bias"),
		Rename("*.{dt_norm|B_norm|C_norm}_weight", "_norm_weight=>_norm.weight"),
		Rename("*.{k|q}_weight", "_weight=>.weight"),
		On("*.conv1d.weight", SqueezeAll),
	}.Also(plamoNorms),
	Keys: Keys{Set("vocab_size", Cfg("vocab_size"))}.Also(When(CfgOr("mamba_enabled", true),
		Set("attention.head_count_kv", ByLayer(plamoMamba, 0, CfgOr("num_key_value_heads", 4))),
		Set("attention.head_count", ByLayer(plamoMamba, 0, CfgOr("num_attention_heads", 32))),
	)).Then(
		Set("context_length", CfgOr("max_position_embeddings", 2048)),
		Set("embedding_length", CfgOr("hidden_size", 4096)),
		Set("attention.key_length", plamoHeadSize),
		Set("attention.value_length", plamoHeadSize),
		Set("block_count", BlockCount),
		Set("attention.layer_norm_rms_epsilon", CfgOr("rms_norm_eps", 1e-6)),
		Set("rope.freq_base", RopeAll(CfgOr("rope_theta", 10000))),
		Set("ssm.state_size", CfgOr("mamba_d_state", 64)),
		Set("ssm.conv_kernel", CfgOr("mamba_d_conv", 4)),
		Set("ssm.time_step_rank", plamoHeads),
		Set("ssm.inner_size", Mul(plamoHeads, plamoHeadSize)),
		Set("ssm.group_count", 0),
		Set("feed_forward_length", CfgOr("intermediate_size", 13312)),
		FileTypeKey,
	),
	Vocab:  vocab.Plamo,
	Odd:    []string{"ffn_up"}, // gate and up in one
	Uneven: true,
})

var plamoWindow = Opt("window_size", "sliding_window")

var _ = Register(Arch{
	HF:      []string{"Plamo3ForCausalLM", "PLaMo3ForCausalLM"},
	GGUF:    "plamo3",
	Names:   TextNames,
	Tensors: Rules{On("*.mixer.{q|k}_norm.weight", Plus(1))}.Also(plamoNorms),
	Keys: TextKeys.Then(Set("vocab_size", Cfg("vocab_size"))).Also(When(Not(Null(plamoWindow)),
		Set("attention.sliding_window", plamoWindow),
		Set("attention.sliding_window_pattern", Cfg("sliding_window_pattern")),
	)),
	Vocab: vocab.Plamo3,
	Odd:   []string{"ffn_up"},
})
