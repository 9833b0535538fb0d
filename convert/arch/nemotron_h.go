package arch

// Nemotron-H, Nemotron 3 and Puzzle (NVIDIA): layers of Mamba 2, of attention and of feed-forward networks or experts.
//
// Peculiar: one letter or word for each layer says what it is; heads, not a factor, make the inner size; the prediction head
// stands under "mtp." in two layers, which become one block behind the trunk; Puzzle's experts differ by layer, and its head is
// left out.
//
// Source: llama.cpp v0.5.0, conversion/nemotron.py: NemotronHModel, NemotronHPuzzleModel.

import (
	"fmt"
	"slices"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/vocab"
)

var (
	nemotronInner = Mul(Cfg(prefixed("num_heads")...), hybridWidth)
	nemotronHead  = Cfg("attention_head_dim")
	nemotronMoE   = Has("num_experts_per_tok")
)

// nemotronConfig counts the layers by their words, and keeps the head's size, which Granite's keys take away.
var nemotronConfig = When(Not(Null(Opt("layers_block_type"))), Let("num_hidden_layers", wordCount)).
	Then(Let("attention_head_dim", CfgOr("head_dim", Opt("attention_head_dim"))))

// wordCount is the number of words, unless the text model's own configuration counts layers.
var wordCount = Fn("length of layers_block_type", func(e *Env) (any, error) {
	if text, ok := e.Root.Object("text_config"); ok && text.Has("num_hidden_layers") {
		return text["num_hidden_layers"], nil
	}
	list, _ := asList(e.Config["layers_block_type"])
	return int64(len(list)), nil
})

// nemotronKinds are the letters and the words that a pattern has for a kind of layer.
type nemotronKinds struct {
	letters, dense string // of models with experts; of others
	words          []string
}

var (
	nemotronMamba     = nemotronKinds{"M", "M", []string{"mamba", "linear_attention"}}
	nemotronAttention = nemotronKinds{"*", "*", []string{"attention", "full_attention"}}
	nemotronNetworks  = nemotronKinds{"E", "-", []string{"moe"}}
)

// layers tells for each block whether it is of the kind; behind says whether the prediction head's is.
func (k nemotronKinds) layers(behind bool) Expr {
	return Fn("layers of "+k.words[0], func(e *Env) (any, error) {
		pattern, err := Or(Opt("hybrid_override_pattern"), Opt("layers_block_type")).Eval(e)
		if err != nil || pattern == nil {
			return make([]bool, e.Blocks), err
		}
		next, err := e.Int(nemotronNext)
		if err != nil {
			return nil, err
		}
		letter := k.dense
		if moe, _ := e.Truth(nemotronMoE); moe {
			letter = k.letters
		}
		var out []bool
		switch pattern := pattern.(type) {
		case string:
			for _, c := range pattern {
				out = append(out, string(c) == letter)
			}
		case []any:
			for _, w := range pattern {
				s, _ := w.(string)
				out = append(out, slices.Contains(k.words, s))
			}
		}
		if int64(len(out))+next != e.Blocks {
			return nil, &fault.Invalid{On: "config.json", Says: fmt.Sprintf("a pattern of %d layers, the configuration has %d", len(out), e.Blocks-next)}
		}
		return append(out, slices.Repeat([]bool{behind}, int(next))...), nil
	})
}

// nemotronNext is the number of prediction heads that are written.
var nemotronNext = Fn("prediction heads unless --no-mtp", func(e *Env) (any, error) {
	if moe, err := e.Truth(nemotronMoE); !moe || e.Options.NoMTP || e.Arch.NextN == nil {
		return int64(0), err
	}
	return Or(Opt("num_nextn_predict_layers"), 0).Eval(e)
})

// nemotronRotary holds where no layer is Mamba.
var nemotronRotary = Fn("no layer of mamba", func(e *Env) (any, error) {
	list, err := e.bools(nemotronMamba.layers(false))
	return !slices.Contains(list, true), err
})

var nemotronNames = Rules{
	Code("*", "keep or drop the prediction head (--mtp, --no-mtp)", predictionHead),
	Rename("model.layers.*.mixer.*", "model.layers.=>backbone.layers."),
}.Also(hybrid.Names)

var nemotronRules = Rules{
	Code("mtp.layers.{0|1}.*", "the prediction head is the block behind the trunk", headBlock),
	Stack("backbone.layers.{b}.mixer.experts.{x}.{w}.weight", Cfg("n_routed_experts"), "model.layers.{b}.mlp.experts.{w}.weight", "down_proj", "up_proj"),
}.Also(hybridRules(nemotronInner))

// nemotronKeys are those that all share; networks writes the widths.
func nemotronKeys(attention, rotary Expr) Keys {
	return hybridKeys(nemotronInner, attention, rotary).Then(
		Set("attention.key_length", nemotronHead),
		Set("attention.value_length", nemotronHead),
	)
}

// nemotronExperts are the keys of models with experts, their widths and numbers aside.
var nemotronExperts = Keys{
	Set("expert_shared_feed_forward_length", Cfg("moe_shared_expert_intermediate_size")),
	Set("expert_count", Cfg("n_routed_experts")),
	Set("expert_shared_count", Cfg("n_shared_experts")),
	Set("expert_weights_norm", Flag("norm_topk_prob")),
	Set("expert_weights_scale", Cfg("routed_scaling_factor")),
	Set("expert_group_count", Cfg("n_group")),
}

var (
	nemotronTrunk = nemotronKeys(nemotronAttention.layers(true), nemotronRotary)
	nemotronWidth = Cfg(prefixed("intermediate_size", "n_inner", "hidden_dim")...)
)

// nemotronH is what both kinds share.
var nemotronH = Register(Arch{
	Base:       hybrid,
	GGUF:       "nemotron_h",
	Config:     nemotronConfig,
	Names:      nemotronNames,
	Tensors:    nemotronRules,
	Keys:       nemotronTrunk.Then(Set("feed_forward_length", ByLayer(nemotronNetworks.layers(true), nemotronWidth, 0))),
	Vocab:      vocab.NemotronH,
	VocabInput: padVocabulary(8),
	Odd:        []string{"ffn_up_exp", "ffn_down_exp"}, // experts may work in a narrower, latent space
})

var nemotronHMoE = Register(Arch{
	Base:   nemotronH,
	GGUF:   "nemotron_h_moe",
	Config: nemotronConfig.Then(Fail(All(MTPOnly, Is(nemotronNext, 0)), "--mtp: the checkpoint has no prediction head")),
	NextN:  &NextN{Layers: nemotronNext},
	MTP:    true,
	Keys: nemotronTrunk.Then(
		Fail(Not(Is(nemotronNext, 0, 1)), "more than one prediction head"),
		Set("feed_forward_length", ByLayer(nemotronNetworks.layers(true), Cfg("moe_intermediate_size"), 0)),
		Set("expert_used_count", Cfg("num_experts_per_tok")),
		Set("expert_feed_forward_length", Cfg("moe_intermediate_size")),
	).Also(nemotronExperts).Then(
		Set("moe_latent_size", Opt("moe_latent_size")),
		Set("nextn_predict_layers", Or(nemotronNext, Const(nil))),
	),
	Vocab: vocab.GPT2,
})

var _ = Register(Arch{
	Base:   nemotronH,
	HF:     []string{"NemotronHForCausalLM"},
	Config: nemotronConfig.Then(Fail(All(MTPOnly, Not(nemotronMoE)), "--mtp: the checkpoint has no prediction head")),
	Switch: []Case{{If: nemotronMoE, To: nemotronHMoE}},
	MTP:    true,
})

// blockConfig is a list of one key of every layer of Puzzle, 0 where a layer has none.
func blockConfig(key string) Expr {
	return Fn("block_configs' "+key, func(e *Env) (any, error) {
		list, _ := asList(e.Config["block_configs"])
		out := make([]any, len(list))
		for i, v := range list {
			o, _ := v.(config.Object)
			if out[i] = o[key]; !config.Truth(o[key]) {
				out[i] = int64(0)
			}
		}
		return out, nil
	})
}

var _ = Register(Arch{
	Base: nemotronH,
	HF:   []string{"NemotronHPuzzleForCausalLM"},
	GGUF: "nemotron_h_moe",
	Config: Keys{
		Fail(Null(Opt("block_configs")), "no block_configs in config.json"),
		Let("layers_block_type", blockConfig("block_type")),
	}.Also(nemotronConfig),
	Names:   Rules{Drop("mtp.*", "llama.cpp does not run this prediction head")}.Also(nemotronNames),
	Tensors: Rules{Rename("model.*", "model.=>backbone.")}.Also(nemotronRules),
	Keys: nemotronKeys(nemotronAttention.layers(false), Const(false)).Then(
		Set("feed_forward_length", blockConfig("moe_intermediate_size")),
		Set("expert_feed_forward_length", blockConfig("moe_intermediate_size")),
		Set("expert_used_count", blockConfig("num_experts_per_tok")),
	).Also(nemotronExperts).Then(Set("moe_latent_size", Cfg("moe_latent_size"))),
	Vocab: vocab.GPT2,
})

// predictionHead is --mtp and --no-mtp over the checkpoint's names.
func predictionHead(b *Build, it Item) ([]Item, error) {
	head := strings.HasPrefix(it.Name, "mtp.")
	shared := it.Name == "backbone.embeddings.weight" || it.Name == "backbone.norm_f.weight" || strings.HasPrefix(it.Name, "lm_head.")
	switch {
	case head && b.Options.NoMTP:
		b.drop(it.Source, "--no-mtp leaves the prediction head out")
		return nil, nil
	case !head && b.Options.MTPOnly && !shared:
		b.drop(it.Source, "--mtp takes the prediction head alone")
		return nil, nil
	}
	return []Item{it}, nil
}

// headNames are the names of the head's tensors that are none of an ordinary layer.
var headNames = map[string]string{
	"0.enorm.weight": "enorm.weight", "0.hnorm.weight": "hnorm.weight", "0.eh_proj.weight": "eh_proj.weight",
	"1.norm.weight": "post_attention_layernorm.weight", "1.final_layernorm.weight": "shared_head.norm.weight",
}

// headBlock folds the head's two layers, attention and experts, into the last block. Item.Block stays the checkpoint's number, by
// which the reference looks for what is always F32: so the head's router, of another block in the end, is not.
func headBlock(b *Build, it Item) ([]Item, error) {
	layer := strings.TrimPrefix(it.Name, "mtp.layers.")
	last := b.Blocks - 1
	if name, ok := headNames[layer]; ok {
		it.Name = fmt.Sprintf("model.layers.%d.%s", last, name)
	} else {
		it.Name = fmt.Sprintf("backbone.layers.%d.%s", last, layer[len("0."):])
	}
	return []Item{it}, nil
}
