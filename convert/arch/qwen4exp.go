package arch

// Qwen 3.8 Flash Next.
//
// Peculiar: Qwen 3.5's linear attention with hyper-connections in place of norms; an indexer whose query and key are one matrix;
// a table of embeddings of n-grams in shards, too large to be held, whose hash constants are metadata. The prediction layers are
// a draft of their own, which llama.cpp does not run.
//
// Source: llama.cpp v0.5.0, conversion/qwen4exp.py: Qwen4ExpTextModel.

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"quern/convert/fault"
	"quern/convert/view"
	"quern/convert/vocab"
)

var _ = Register(Arch{
	HF:    []string{"Qwen4ExpForConditionalGeneration", "Qwen4ExpForCausalLM"},
	GGUF:  "qwen4exp",
	Names: TextNames.Then(Drop("mtp.*|model.mtp.*", "a draft of its own, which llama.cpp does not run")),
	Tensors: Rules{
		Code("*ple_embedding.{layer_multipliers|ngram_heads_offsets|ngram_heads_vocab_sizes}", "written as metadata",
			func(*Build, Item) ([]Item, error) { return nil, nil }),
		Code("*.ngram_embedding.shard_*", "one table of all shards, by their numbers", gramTable),
		Split("*.indexer.index_qk_proj.weight", 0,
			Part{To: "@indexer_q_proj", Size: Mul(Cfg("indexer_n_heads"), Cfg("indexer_head_dim"))}, Part{To: "@indexer_k_proj"}),
		On("*.ple.norm_{key|query|conv}.weight", Plus(1)),
	}.Also(tileRules, linearRules, qwen2moe.Tensors),
	Keys: qwen2moe.Keys.Also(linearKeys).Then(
		Set("rope.dimension_sections", defaultSections),
		Set("hyper_connection.count", Cfg("hc_count")),
		Set("hyper_connection.low_rank", Cfg("hc_lowrank")),
		Set("attention.indexer.head_count", Cfg("indexer_n_heads")),
		Set("attention.indexer.key_length", Cfg("indexer_head_dim")),
		Set("attention.indexer.top_k", Cfg("indexer_budget")),
		Set("attention.compress_ratios", ByLayer(LayersOf("layer_types", "full_attention"), Cfg("indexer_compress_ratio"), 0)),
	).Also(When(Cfg("ple_layer_ids"),
		Set("ple.layers", plusEach(Cfg("ple_layer_ids"), -1)), // config.json counts from 1
		Set("ple.ngram_size", Cfg("ngram_size")),
		Set("ple.heads_per_ngram", Cfg("heads_per_ngram")),
		Set("ple.conv_kernel", Cfg("ple_conv_kernel_size")),
		Set("ple.eos_token_id", gramEnd),
		Set("ple.image_token_id", Opt("image_token_id")),
		Do("embedding_length_per_layer_input = width of the table", func(m *Meta) error {
			return m.Set("embedding_length_per_layer_input", m.b.Scratch["gram width"])
		}),
		hashConstant("ple.layer_multipliers", "ple_embedding.layer_multipliers"),
		hashConstant("ple.head_offsets", "ple_embedding.ngram_heads_offsets"),
		hashConstant("ple.head_vocab_sizes", "ple_embedding.ngram_heads_vocab_sizes"),
	)),
	Vocab:  vocab.GPT2,
	Odd:    qwen3next.Odd,
	Uneven: true,
})

// gramEnd is the token on which n-grams begin anew: the last of several.
var gramEnd = Fn("eos_token_id, the last of several", func(e *Env) (any, error) {
	v, err := Cfg("eos_token_id").Eval(e)
	list, ok := asList(v)
	switch {
	case !ok || err != nil:
		return v, err
	case len(list) == 0:
		return nil, &fault.Invalid{On: "config.json: eos_token_id", Says: "is empty"}
	}
	return list[len(list)-1], nil
})

// hashConstant writes a tensor of integers as metadata: they have 45 bits and must not pass through floats.
func hashConstant(key, tensor string) Key {
	return Do(key+" = *"+tensor, func(m *Meta) error {
		for i := range m.Tensors {
			if t := &m.Tensors[i]; strings.HasSuffix(t.Name, tensor) {
				v, err := m.b.Ints(*t)
				if err != nil {
					return err
				}
				return m.Set(key, v)
			}
		}
		return &fault.Invalid{On: "checkpoint", Says: "no tensor " + tensor + ", which the hashing of n-grams needs"}
	})
}

// gramShards are the parts of the table that have come, by number.
type gramShards map[int64]view.Tensor

// gramTable joins the shards once all are there.
func gramTable(b *Build, it Item) ([]Item, error) {
	want, err := b.Int(Cfg("split_ngram_parts"))
	if err != nil {
		return nil, err
	}
	shards, ok := b.Scratch["gram shards"].(gramShards)
	if !ok {
		shards = gramShards{}
		b.Scratch["gram shards"] = shards
		b.Last(func() error {
			if n := int64(len(shards)); n != want {
				return &fault.Invalid{On: "checkpoint", Says: fmt.Sprintf("%d shards of the table of n-grams, the configuration has %d", n, want)}
			}
			return nil
		})
	}
	_, num, _ := strings.Cut(it.Name, ".shard_")
	i, err := strconv.ParseInt(num[:digits(num)], 10, 64)
	if err != nil {
		return nil, &fault.Invalid{On: it.Source, Says: "has no number of a shard"}
	}
	shards[i] = it.View
	b.Scratch["gram width"] = it.View.RowLen()
	if int64(len(shards)) != want {
		return nil, nil
	}
	var parts []view.Tensor
	for _, i := range slices.Sorted(maps.Keys(shards)) {
		parts = append(parts, shards[i])
	}
	if it.View, err = concat(parts); err != nil {
		return nil, &fault.Invalid{On: it.Source, Says: "its shards cannot be joined", Err: err}
	}
	it.Name, err = b.renamed("@per_layer_token_embd", it)
	return []Item{it}, err
}
