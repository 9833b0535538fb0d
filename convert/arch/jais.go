package arch

// Jais 1 and 2.
//
// Peculiar: Jais 1 keeps its matrices transposed and folds two scales of its parametrization into embedding and head; its
// positions are biases of the attention, whose largest is told by the first stored slope.
//
// Source: llama.cpp v0.5.0, conversion/jais.py: JaisModel, Jais2Model.

import (
	"fmt"
	"math"
	"math/bits"

	"quern/convert/fault"
	"quern/convert/vocab"
)

var (
	jaisEmbedding = Choose(Has("mup_embeddings_scale"), Cfg("mup_embeddings_scale"), Cfg("embeddings_scale"))
	jaisHead      = Choose(Has("mup_output_alpha"), Mul(Cfg("mup_output_alpha"), Cfg("mup_width_scale")), Cfg("width_scale"))
)

const jaisBias = "largest bias"

var _ = Register(Arch{
	HF:   []string{"JAISLMHeadModel"},
	GGUF: "jais",
	Config: Keys{
		Fail(Not(Is(Opt("activation_function"), "swiglu")), "an activation other than swiglu"),
		Fail(Not(Is(Opt("position_embedding_type"), "alibi")), "positions other than alibi"),
	},
	Names: Rules{Drop("*.attn.bias", "the causal mask, computed at run time")}.Also(TextNames),
	Tensors: Rules{
		Code("*relative_pe.slopes", "the largest bias of the attention, in the metadata", alibiBias),
		On("*.{c_attn|c_proj|c_fc|c_fc2}.weight", Transposed),
		Named,
		On("token_embd.weight", Times(jaisEmbedding)),
		On("output.weight", Times(jaisHead)),
	},
	Early: Keys{Do("attention.max_alibi_bias of relative_pe.slopes, 8 without", func(m *Meta) error {
		bias, ok := m.b.Scratch[jaisBias].(float64)
		if !ok {
			bias = 8
		}
		return m.Set("attention.max_alibi_bias", bias)
	})},
	Keys: Keys{
		Set("block_count", BlockCount),
		Set("context_length", Cfg("n_positions")),
		Set("embedding_length", Cfg("n_embd")),
		Set("feed_forward_length", Cfg("n_inner")),
		Set("attention.head_count", Cfg("n_head")),
		Set("attention.layer_norm_epsilon", Cfg("layer_norm_epsilon")),
		FileTypeKey,
	},
	Vocab: vocab.GPT2,
})

// alibiBias turns the first slope around: it is 2^(-bias/heads), with the heads rounded down to a power of two.
func alibiBias(b *Build, it Item) ([]Item, error) {
	heads, err := b.Int(Cfg("n_head"))
	if err != nil {
		return nil, err
	}
	slopes, err := b.Floats(it.View)
	if err != nil {
		return nil, err
	}
	if len(slopes) == 0 || !(slopes[0] > 0) || heads <= 0 {
		return nil, &fault.Invalid{On: it.Source, Says: fmt.Sprintf("%d slopes of %d heads, the first not above 0", len(slopes), heads)}
	}
	power := int64(1) << (bits.Len64(uint64(heads)) - 1)
	b.Scratch[jaisBias] = -math.RoundToEven(math.Log2(float64(slopes[0])) * float64(power))
	b.drop(it.Source, "in the metadata as attention.max_alibi_bias")
	return nil, nil
}

var _ = Register(Arch{
	HF:    []string{"Jais2ForCausalLM"},
	GGUF:  "jais2",
	Names: TextNames,
	Keys:  TextKeys.Then(Set("rope.dimension_count", CfgOr("head_dim", FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads"))))),
	Vocab: vocab.GPT2,
})
