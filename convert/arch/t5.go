package arch

// T5, mT5, UMT5 and T5's encoder alone.
//
// Peculiar: encoder and decoder are counted apart; the embedding that both share stands under up to three names, of which the
// first is taken; without n_positions the context is 512. Where the decoder has more layers, neither the reference converts the
// model nor does llama.cpp load it: the encoder then gets layers of zeros, which change nothing, behind its own.
//
// Source: llama.cpp v0.5.0, conversion/t5.py: T5Model, T5EncoderModel.

import (
	"fmt"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/view"
	"quern/convert/vocab"
)

var t5 = Register(Arch{
	HF:     []string{"T5WithLMHeadModel", "T5ForConditionalGeneration", "MT5ForConditionalGeneration", "UMT5ForConditionalGeneration", "UMT5Model"},
	GGUF:   "t5",
	Blocks: longerStack,
	Names:  TextNames,
	Tensors: Rules{
		Code("{decoder.embed_tokens|encoder.embed_tokens|shared}.weight", "the first is shared.weight, others are dropped", sharedEmbedding),
		Code("encoder.block.0.*", "zeros of this shape as many times as the decoder has more layers", idleLayers),
	},
	Keys:  t5Keys(Set("decoder_block_count", Opt("num_decoder_layers"))).Then(Set("decoder_start_token_id", Cfg("decoder_start_token_id")), FileTypeKey),
	Vocab: vocab.T5,
})

var _ = Register(Arch{Base: t5, HF: []string{"T5EncoderModel"}, GGUF: "t5encoder", Blocks: defaultBlocks, Keys: t5Keys().Then(FileTypeKey)})

func t5Keys(decoder ...Key) Keys {
	return Keys{
		Set("context_length", Else(Opt("n_positions"), 512)),
		Set("embedding_length", Cfg("d_model")),
		Set("feed_forward_length", Cfg("d_ff")),
		Set("block_count", BlockCount),
	}.Also(decoder).Then(
		Set("attention.head_count", Cfg("num_heads")),
		Set("attention.key_length", Cfg("d_kv")),
		Set("attention.value_length", Cfg("d_kv")),
		Set("attention.layer_norm_epsilon", Cfg("layer_norm_epsilon")),
		Set("attention.relative_buckets_count", Cfg("relative_attention_num_buckets")),
		Set("attention.layer_norm_rms_epsilon", Cfg("layer_norm_epsilon")),
	)
}

// longerStack is the number of blocks that are written.
var longerStack = Fn("layers of the encoder or of the decoder, whichever has more", func(e *Env) (any, error) {
	encoder, err := e.Int(defaultBlocks)
	if err != nil {
		return nil, err
	}
	decoder, err := e.Int(Else(Opt("num_decoder_layers"), encoder))
	return max(encoder, decoder), err
})

func sharedEmbedding(b *Build, it Item) ([]Item, error) {
	if b.Scratch["embedding"] != nil {
		b.drop(it.Source, "the embedding has been read under another name")
		return nil, nil
	}
	b.Scratch["embedding"] = true
	it.Name = "shared.weight"
	return []Item{it}, nil
}

// idleLayers writes layers that add nothing to what passes them: norms are kept, matrices are zero.
func idleLayers(b *Build, it Item) ([]Item, error) {
	own, err := b.Int(defaultBlocks)
	if err != nil || own >= b.Blocks || strings.Contains(it.Name, "relative_attention_bias") {
		return []Item{it}, err
	}
	if b.Scratch["idle"] == nil {
		last := fmt.Sprintf("decoder.block.%d.", b.Blocks-1)
		if !slices.ContainsFunc(b.SourceNames(), func(n string) bool { return strings.HasPrefix(n, last) }) {
			return nil, &fault.Invalid{On: "checkpoint", Says: fmt.Sprintf("no tensor of decoder layer %d, the configuration has %d such layers", b.Blocks-1, b.Blocks)}
		}
		b.Scratch["idle"] = true
		b.Warn("the decoder has %d layers, the encoder %d: it gets %d more, of zeros, which change nothing", b.Blocks, own, b.Blocks-own)
	}
	zero := it
	if len(it.View.Shape) > 1 {
		if zero.View, err = view.Map(it.View, func(v []float32) { clear(v) }); err != nil {
			return nil, err
		}
	}
	b.Last(func() error {
		for zero.Block = own; zero.Block < b.Blocks; zero.Block++ {
			idle := zero
			idle.Name = strings.Replace(it.Name, ".0.", fmt.Sprintf(".%d.", zero.Block), 1)
			if err := b.through(nil, idle); err != nil {
				return err
			}
		}
		return nil
	})
	return []Item{it}, nil
}
