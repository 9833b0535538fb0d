package arch

// Granite Switch: a dense Granite with several LoRA adapters inside, one of which each token switches on.
//
// Peculiar: a slot of zeros, for no adapter, stands before the adapters; the switch takes a layer of the configuration's count
// but has no weights; query, key and value are one matrix whose heads go into llama.cpp's order like those of the adapters.
//
// Source: llama.cpp v0.5.0, conversion/granite.py: GraniteSwitchModel.

import (
	"fmt"

	"quern/convert/view"
)

var (
	switchHeads = Cfg("num_attention_heads")
	switchKeys  = Cfg("num_key_value_heads")
	switchDim   = Or(Opt("projection_head_dim"), Or(Opt("head_dim"), FloorDiv(Cfg("hidden_size"), switchHeads)))
	adapters    = Trunc(Cfg("num_adapters"))
)

// emptySlot puts zeros before the first adapter.
var emptySlot = View("a slot of zeros, then", func(_ *Build, _ Item, v view.Tensor) (view.Tensor, error) {
	if len(v.Shape) == 0 {
		return v, fmt.Errorf("no adapters")
	}
	return view.Concat(0, view.Zeros(v.Name, v.DType, append([]int64{1}, v.Shape[1:]...)), v)
})

// eachRotary is Rotary for every adapter's rows.
func eachRotary(heads Expr) []Transform {
	rank := Trunc(Cfg("max_lora_rank"))
	return []Transform{Reshape(-1, rank), Rotary(Mul(adapters, heads)), Reshape(adapters, -1, rank)}
}

// adapterOf names the halves of adapters: those of a fused matrix are numbered, part by part.
func adapterOf(of string, roles ...string) Rules {
	var out Rules
	for i, role := range roles {
		slot := ""
		if len(roles) > 1 {
			slot = fmt.Sprintf("_slices.%d", i)
		}
		out = append(out, Rename(Pattern("*"+of+"*lora_A"+slot), "@"+role+".lora_a"), Rename(Pattern("*"+of+"*lora_B"+slot), "@"+role+".lora_b"))
	}
	return out
}

var _ = Register(Arch{
	Base:   graniteMoE,
	HF:     []string{"GraniteSwitchForCausalLM"},
	GGUF:   "graniteswitch",
	Blocks: Sub(defaultBlocks, 1),
	Tensors: Rules{
		Drop("model.switch.*|switch.*|*.adapter_token_ids|*.control_to_substitute_lut", "made anew when the model is loaded"),
		Drop("lm_head.weight", "the embedding stands for it"),
		On("*lora_{A|B}*", Squeeze(1)),
		On("*self_attn.qkv_proj*lora_B_slices.0", eachRotary(switchHeads)...),
		On("*self_attn.qkv_proj*lora_B_slices.1", eachRotary(switchKeys)...),
		On("*lora_{A|B}*", emptySlot),
		On("*self_attn.qkv_proj*base_layer.weight", Ranges(
			Part{Size: Mul(switchHeads, switchDim), Then: []Transform{Rotary(switchHeads)}},
			Part{Size: Mul(switchKeys, switchDim), Then: []Transform{Rotary(switchKeys)}},
			Part{Size: Mul(switchKeys, switchDim)})),
		Rename("*self_attn.qkv_proj*base_layer.weight", "@attn_qkv"),
		Rename("*self_attn.o_proj*base_layer.weight", "@attn_out"),
		gateUp("*shared_mlp.input_linear*base_layer.weight", "shared_intermediate_size", "@ffn_gate", "@ffn_up"),
		Rename("*shared_mlp.output_linear*base_layer.weight", "@ffn_down"),
	}.Also(
		adapterOf("self_attn.qkv_proj", "attn_q", "attn_k", "attn_v"),
		adapterOf("self_attn.o_proj", "attn_out"),
		adapterOf("shared_mlp.input_linear", "ffn_gate", "ffn_up"),
		adapterOf("shared_mlp.output_linear", "ffn_down"),
	),
	Keys: graniteMoE.Keys.Also(When(Not(graniteExperts), Set("expert_used_count", 0))).Then(
		Set("adapters.count", adapters),
		Set("adapters.lora_rank", Trunc(Cfg("max_lora_rank"))),
		Set("adapters.token_ids_activate", Cfg("adapter_token_ids")),
		Set("adapters.token_ids_substitute", Cfg("adapter_substitute_token_ids")),
		Set("adapters.router_gain", CfgOr("control_token_gain", 15.0)),
	),
})
