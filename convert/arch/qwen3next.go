package arch

// Qwen3-Next and Qwen 3.5: linear attention in three of four layers.
//
// Peculiar: norms are stored less one, all but that of the linear attention; A as its logarithm; query, key, value and gate of the
// linear attention stand head by head in Qwen3-Next's one matrix; where it has more value heads than key heads, Qwen 3.5 wants
// the value heads in tiles, not in groups. The prediction layers are called "mtp." in the checkpoint.
//
// Source: llama.cpp v0.5.0, conversion/qwen.py: Qwen3NextModel.

import (
	"fmt"
	"strconv"
	"strings"

	"quern/convert/fault"
	"quern/convert/view"
	"quern/convert/vocab"
)

var (
	linearKeyHeads   = Cfg("linear_num_key_heads")
	linearValueHeads = Cfg("linear_num_value_heads")
	linearValueDim   = Cfg("linear_value_head_dim")
)

// mtpLayers is the number of prediction layers: as config.json says, or as many as the checkpoint numbers.
var mtpLayers = Fn("mtp_num_hidden_layers, or the checkpoint's mtp.layers", func(e *Env) (any, error) {
	n, err := e.Int(Else(Opt("mtp_num_hidden_layers"), 0))
	if n != 0 || err != nil || e.Arch.NextN != nil && e.Arch.NextN.Absent {
		return n, err
	}
	for _, t := range e.Tensors {
		if rest, ok := strings.CutPrefix(strings.TrimPrefix(t.Name, "model."), "mtp.layers."); ok {
			num, _, _ := strings.Cut(rest, ".")
			if i, err := strconv.ParseInt(num, 10, 64); err == nil && i < maxBlocks {
				n = max(n, i+1)
			}
		}
	}
	return n, nil
})

var mtpNext = &NextN{Layers: mtpLayers, Shared: append([]string{"embed_tokens.weight", "norm.weight"}, sharedTensors...)}

var qwen3next = Register(Arch{
	HF:    []string{"Qwen3NextForCausalLM"},
	GGUF:  "qwen3next",
	NextN: mtpNext,
	Names: TextNames.Then(Rename("model.mtp.*", "model.mtp.=>mtp.")).
		Also(Given(NoMTP, Drop("mtp.*", "--no-mtp leaves the prediction layers out")), mtpNames(Cfg("num_hidden_layers"), false)).
		Also(Given(MTPOnly, Refuse("mtp.*", "no prediction layer has such a tensor"))).
		Then(NextNRule(mtpNext)),
	Tensors: linearRules.Also(qwen2moe.Tensors),
	Keys: qwen2moe.Keys.Then(
		Set("nextn_predict_layers", NextNCount(Or(mtpLayers, Const(nil)))),
	).Also(linearKeys),
	Vocab:  vocab.GPT2,
	Odd:    []string{"attn_q", "attn_out"}, // query and gate in one
	Uneven: true,                           // --fuse-qkv leaves linear layers as they are
	MTP:    true,
})

// linearRules and linearKeys are what models with this attention share.
var linearRules = Rules{
	On("*.A_log", NegExp),
	Rename("*.dt_bias", "dt_bias=>dt_proj.bias"),
	On("*conv1d*", SqueezeAll),
	On("*norm.weight", Plus(1)).Except("*linear_attn.norm.weight"),
	movesBlocks(Code("*in_proj_qkvz.weight", "heads of query, key, value and gate apart", splitQKVZ)),
}

var linearKeys = Keys{
	Set("ssm.conv_kernel", Cfg("linear_conv_kernel_dim")),
	Set("ssm.state_size", Cfg("linear_key_head_dim")),
	Set("ssm.group_count", linearKeyHeads),
	Set("ssm.time_step_rank", linearValueHeads),
	Set("ssm.inner_size", Mul(linearValueDim, linearValueHeads)),
	Set("attention.recurrent_layers", recurrentLayers),
	Set("full_attention_interval", CfgOr("full_attention_interval", 4)),
	Set("rope.dimension_count", Trunc(Mul(HeadDim, RopeAll(CfgOr("partial_rotary_factor", 0.25))))),
}

// recurrentLayers are flags for all blocks, those behind the trunk not set.
var recurrentLayers = Fn("layer_types is linear_attention", func(e *Env) (any, error) {
	if e.Config.Null("layer_types") {
		return nil, nil
	}
	v, err := LayersOf("layer_types", "linear_attention").Eval(e)
	if err != nil {
		return nil, err
	}
	flags := v.([]bool)
	n, err := e.Int(Cfg("num_hidden_layers"))
	if err == nil && n != int64(len(flags)) {
		err = &fault.Invalid{On: "config.json: layer_types", Says: fmt.Sprintf("%d entries for %d layers", len(flags), n)}
	}
	return append(flags, make([]bool, max(e.Blocks-n, 0))...), err
})

// splitQKVZ takes [key heads x (query, key, values, gates), width] apart into query, key and value one below the other, and gate.
// Blocks stay in one, as the reference has it: llama.cpp loads both.
func splitQKVZ(b *Build, it Item) ([]Item, error) {
	if it.Blocks != 0 {
		return []Item{it}, nil
	}
	var n [4]int64
	for i, x := range []Expr{linearKeyHeads, Cfg("linear_key_head_dim"), linearValueHeads, linearValueDim} {
		var err error
		if n[i], err = b.Int(x); err != nil {
			return nil, err
		}
	}
	if n[0] <= 0 {
		return nil, &fault.Invalid{On: "config.json: linear_num_key_heads", Says: "at least 1 is needed"}
	}
	values := n[2] / n[0] * n[3]
	parts, err := view.Regroup(it.View, n[0], n[1], n[1], values, values)
	if err != nil {
		return nil, err
	}
	qkv, gate := it, it
	if qkv.View, err = view.Concat(0, parts[:3]...); err != nil {
		return nil, err
	}
	gate.View = parts[3]
	stem := strings.TrimSuffix(it.Name, "in_proj_qkvz.weight")
	qkv.Name, gate.Name = stem+"in_proj_qkv.weight", stem+"in_proj_z.weight"
	return []Item{qkv, gate}, nil
}
