package arch

// HRM-Text: two stacks of layers, run in cycles.
//
// Peculiar: the file has the layers of the low stack, then those of the high one, but states as many blocks as the cycles run;
// gate, query, key and value are stored in one, gate and up of the feed-forward in another.
//
// Source: llama.cpp v0.5.0, conversion/hrm_text.py: HrmTextModel.

import (
	"fmt"
	"strconv"
	"strings"

	"quern/convert/fault"
	"quern/convert/vocab"
)

// hrmLayers is the number of layers of one stack: configurations of the training call it num_hidden_layers.
var hrmLayers = Or(Opt("num_layers_per_stack"), Cfg("num_hidden_layers"))

var _ = Register(Arch{
	HF:     []string{"HrmTextForCausalLM"},
	GGUF:   "hrm_text",
	Blocks: Mul(2, hrmLayers),
	Names:  TextNames.Then(Code("model.{L|H}_module.layers.#.*", "number the low stack's layers first, then the high one's", hrmNumber)),
	Tensors: Rules{
		Code("model.z_L_init", "name as @hrm_z_l_init", func(b *Build, it Item) ([]Item, error) {
			name, ok := b.names.Of("hrm_z_l_init", -1)
			it.Name, it.Final = name, ok
			return []Item{it}, nil
		}),
		Split("*.attn.gqkv_proj.weight", 0, Part{To: "@attn_gate"}, Part{To: "@attn_q"}, Part{To: "@attn_k"}, Part{To: "@attn_v"}),
		Split("*.mlp.gate_up_proj.weight", 0, Part{To: "@ffn_gate"}, Part{To: "@ffn_up"}),
		Rename("model.layers.#.attn.*", ".attn.=>.self_attn."),
	},
	Keys: TextKeys.Then(
		Set("block_count", Mul(hrmLayers, Cfg("H_cycles"), Add(Cfg("L_cycles"), 1))), // each run has a cache of its own
		Set("rope.dimension_count", Or(Opt("head_dim"), FloorDiv(Cfg("hidden_size"), Cfg("num_attention_heads")))),
		Set("embedding_scale", Cfg("embedding_scale")),
		Set("hrm.layers_per_stack", hrmLayers),
		Set("hrm.h_cycles", Cfg("H_cycles")),
		Set("hrm.l_cycles", Cfg("L_cycles")),
		Set("hrm.prefix_lm", FlagOr("prefix_lm", false)),
	),
	Vocab: vocab.GPT2,
})

func hrmNumber(b *Build, it Item) ([]Item, error) {
	stack, rest, _ := strings.Cut(strings.TrimPrefix(it.Name, "model."), "_module.layers.")
	num, rest, _ := strings.Cut(rest, ".")
	i, err := strconv.ParseInt(num, 10, 64)
	if err != nil || i >= maxBlocks {
		return nil, &fault.Invalid{On: it.Source, Says: "no number of a layer: " + num}
	}
	if stack == "H" {
		n, err := b.Int(hrmLayers)
		if err != nil {
			return nil, err
		}
		i += n
	}
	it.Name = fmt.Sprintf("model.layers.%d.%s", i, rest)
	return []Item{it}, nil
}
