package arch

// MiniCPM 1 to 4, MiniCPM 3 with its attention over a latent, and the text model of MiniCPM-V 4.6.
//
// Peculiar: embedding, residuals and logits are scaled; only the weights of query and key go into llama.cpp's rotary order; the
// last is a Qwen 3.5 whose prediction layers are counted though their tensors are left out.
//
// Source: llama.cpp v0.5.0, conversion/minicpm.py: MiniCPMModel, MiniCPM3Model, MiniCPMV4_6TextModel.

import (
	"math"

	"quern/convert/vocab"
)

var anyFactors = Any(longFactors, RopeAll(Opt("short_factor")))

// scaledRope are the factors of a rope of so many dimensions.
func scaledRope(dims Expr) []Generate {
	return []Generate{{Doc: "rope_factors_long and rope_factors_short", If: anyFactors, Make: longRope(dims)}}
}

var _ = Register(Arch{
	HF:    []string{"MiniCPMForCausalLM"},
	GGUF:  "minicpm",
	Names: TextNames,
	Extra: scaledRope(FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads"))),
	Tensors: Rules{
		On("*q_proj.weight", Rotary(Cfg("num_attention_heads"))),
		On("*k_proj.weight", Rotary(Else(Opt("num_key_value_heads"), Cfg("num_attention_heads")))),
	},
	Keys: TextKeys.Then(
		Set("embedding_scale", Cfg("scale_emb")),
		Set("residual_scale", Div(Cfg("scale_depth"), Fn("square root of num_hidden_layers", func(e *Env) (any, error) {
			n, err := e.Float(Cfg("num_hidden_layers"))
			return math.Sqrt(n), err
		}))),
		Set("logit_scale", Div(Cfg("hidden_size"), Cfg("dim_model_base"))),
	),
	Vocab: vocab.SPM,
})

var _ = Register(Arch{
	HF:    []string{"MiniCPM3ForCausalLM"},
	GGUF:  "minicpm3",
	Names: TextNames,
	Extra: scaledRope(Cfg("qk_rope_head_dim")),
	Keys: Keys{
		FileTypeKey,
		Set("context_length", Cfg("max_position_embeddings")),
		Set("embedding_length", Cfg("hidden_size")),
		Set("block_count", BlockCount),
		Set("feed_forward_length", Cfg("intermediate_size")),
		Set("attention.head_count", Cfg("num_attention_heads")),
		Set("attention.head_count_kv", Cfg("num_key_value_heads")),
		Set("attention.layer_norm_rms_epsilon", Cfg("rms_norm_eps")),
		Set("vocab_size", Cfg("vocab_size")),
		Set("attention.q_lora_rank", Opt("q_lora_rank")),
		Set("attention.kv_lora_rank", Cfg("kv_lora_rank")),
		Set("attention.key_length", Add(Cfg("qk_nope_head_dim"), Cfg("qk_rope_head_dim"))),
		Set("rope.dimension_count", Cfg("qk_rope_head_dim")),
	},
	Vocab: vocab.SPM,
	Odd:   []string{"attn_out"}, // the key's length is not the value's
})

var _ = Register(Arch{
	Base:  qwen35,
	HF:    []string{"MiniCPMV4_6ForConditionalGeneration"},
	NextN: &NextN{Layers: mtpLayers, Shared: mtpNext.Shared, Absent: true},
	Names: Rules{
		Drop("model.merger.*", "not part of the text model"),
		Drop("mtp*", "llama.cpp does not run the prediction layers of this model"),
	}.Also(qwen35.Names),
})
