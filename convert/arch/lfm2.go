package arch

// LFM2 (Liquid): short convolutions in most layers, attention in the others; with experts, for retrieval, and as the part of LFM2
// Audio that turns codes into sound.
//
// Peculiar: the width of the feed-forward network is computed from the one in the configuration; layers without attention have
// no key-value heads; a dense layer behind the retrieval models stands in a checkpoint of its own.
//
// Source: llama.cpp v0.5.0, conversion/lfm2.py: LFM2Model, LFM2ColBertModel, LFM2MoeModel, LFM25AudioTokenizer.

import (
	"cmp"

	"quern/convert/fault"
	"quern/convert/view"
	"quern/convert/vocab"
)

// lfm2Width is two thirds of the stated width, stretched by a factor and rounded up to a multiple, where that is asked for.
var (
	lfm2Stated   = Cfg("block_ff_dim", "intermediate_size")
	lfm2Thirds   = Trunc(Div(Mul(2, lfm2Stated), 3))
	lfm2Factor   = Opt("block_ffn_dim_multiplier")
	lfm2Stretch  = Choose(Null(lfm2Factor), lfm2Thirds, Trunc(Mul(Cfg("block_ffn_dim_multiplier"), lfm2Thirds)))
	lfm2Multiple = Cfg("block_multiple_of")
	lfm2Rounded  = Mul(lfm2Multiple, FloorDiv(Sub(Add(lfm2Stretch, lfm2Multiple), 1), lfm2Multiple))
	lfm2Width    = Choose(CfgNull("block_auto_adjust_ff_dim"), lfm2Rounded, lfm2Stated)
)

var lfm2 = Register(Arch{
	HF:   []string{"Lfm2ForCausalLM", "LFM2ForCausalLM"},
	GGUF: "lfm2",
	Names: Rules{
		Drop("*audio*|*codebook*|*conformer*|*depth_embedding*|*depthformer*|*depth_linear*", "not part of the text model"),
		Rename("*lfm.*", "lfm.=>model."),
	}.Also(TextNames),
	Tensors: Rules{On("*conv.conv*", Squeeze(1))},
	Keys: Keys{Let("num_key_value_heads", ByLayer(LayersOf("layer_types", "conv"), 0, Cfg("num_key_value_heads")))}.Also(TextKeys).Then(
		Set("vocab_size", Cfg("vocab_size")),
		Set("shortconv.l_cache", Cfg("conv_L_cache")),
		Set("attention.layer_norm_rms_epsilon", Cfg("norm_eps")),
		Set("feed_forward_length", lfm2Width),
	),
	Vocab:  vocab.GPT2,
	Uneven: true,
})

var _ = Register(Arch{
	Base:    lfm2,
	HF:      []string{"Lfm2Model", "Lfm2BidirectionalModel"},
	Extra:   []Generate{{Doc: "dense_2.weight of 1_Dense", If: HasFile(lfm2Dense), Make: retrievalLayer}},
	Tensors: Rules{Rename("*", "=>model.").Except("dense_2*")}.Also(lfm2.Tensors),
	Early:   When(HasFile(lfm2Dense), Set("embedding_length_out", denseRows)),
	Keys:    lfm2.Keys.Also(When(Class("Lfm2BidirectionalModel"), Set("attention.causal", false))).Then(PoolingKey),
})

// lfm2Dense holds the one layer behind the pooling.
const lfm2Dense = "1_Dense/" + denseFile

func retrievalLayer(b *Build) ([]Item, error) {
	t, err := b.denseLayer()
	return []Item{{Name: "dense_2.weight", View: t}}, err
}

var denseRows = Fn("rows of dense_2", func(e *Env) (any, error) {
	t, err := e.denseLayer()
	return t.Rows(), err
})

func (e *Env) denseLayer() (view.Tensor, error) {
	list, err := e.tensorsOf(lfm2Dense)
	for _, t := range list {
		if t.Name == "linear.weight" && len(t.Shape) == 2 {
			return t, nil
		}
	}
	return view.Tensor{}, cmp.Or(err, error(&fault.Invalid{On: lfm2Dense, Says: "no matrix linear.weight in it"}))
}

var _ = Register(Arch{
	HF:    []string{"Lfm2MoeForCausalLM"},
	GGUF:  "lfm2moe",
	Names: Rules{Rename("*.expert_bias", "+.bias")}.Also(TextNames),
	Tensors: Rules{
		On("*conv.conv*", Squeeze(1)),
		Stack("model.layers.{b}.feed_forward.experts.{x}.{w}.weight", Cfg("num_local_experts", "num_experts"),
			"layers.{b}.feed_forward.experts.{w}.weight", "w1", "w2", "w3"),
	},
	Keys: Keys{Let("num_key_value_heads", ByLayer(LayersOf("layer_types", "full_attention"), Cfg("num_key_value_heads"), 0))}.Also(TextKeys).Then(
		Set("expert_feed_forward_length", Cfg("moe_intermediate_size")),
		Set("leading_dense_block_count", Cfg("num_dense_layers")),
		Set("expert_gating_func", gatingFuncs["sigmoid"]),
		Set("vocab_size", Cfg("vocab_size")),
		Set("shortconv.l_cache", Cfg("conv_L_cache")),
	),
	Vocab:  vocab.GPT2,
	Uneven: true,
})

var _ = Register(Arch{
	Base: lfm2,
	HF:   []string{"Lfm25AudioTokenizer"},
	Names: Rules{
		Drop("istft.window|emb.emb*", "not used by llama.cpp"),
		Rename("lin*", "lin=>dense_2_out"),
	}.Also(lfm2.Names),
	Keys: lfm2.Keys.Then(
		Set("attention.sliding_window", Cfg("sliding_window")),
		Set("embedding_length_out", Cfg("output_size")),
	),
	Vocab: vocab.None,
})
