package arch

// Ernie 4.5, dense and with experts, and the text model of PaddleOCR-VL.
//
// Peculiar: query, key and value are one matrix in older files, gate and up too; the width of the shared experts is
// intermediate_size divided by the number of key-value heads, as the reference has it; prediction layers are left out.
//
// Source: llama.cpp v0.5.0, conversion/ernie.py: Ernie4_5Model, Ernie4_5MoeModel, PaddleOCRModel.

import "quern/convert/vocab"

var ernieNames = Rules{Rename("*ernie.*", "ernie.=>model.")}.Also(TextNames)

var ernie = Register(Arch{
	HF:    []string{"Ernie4_5_ForCausalLM", "Ernie4_5ForCausalLM"},
	GGUF:  "ernie4_5",
	Names: ernieNames,
	Tensors: Rules{
		Split("*qkv_proj.weight", 0,
			Part{To: "qkv_proj=>q_proj", Size: Mul(Cfg("num_attention_heads"), HeadDim)},
			Part{To: "qkv_proj=>k_proj", Size: Mul(Cfg("num_key_value_heads"), HeadDim)},
			Part{To: "qkv_proj=>v_proj", Size: Mul(Cfg("num_key_value_heads"), HeadDim)}),
		Split("*up_gate_proj.weight", 0, Part{To: "up_gate_proj=>gate_proj"}, Part{To: "up_gate_proj=>up_proj"}),
	},
	Keys:  TextKeys,
	Vocab: vocab.SpacePrefix,
})

var _ = Register(Arch{
	Base: ernie,
	HF:   []string{"Ernie4_5_MoeForCausalLM"},
	GGUF: "ernie4_5-moe",
	Names: ernieNames.Then(
		Drop("model.mtp_{block|emb_norm|hidden_norm|linear_proj}.#*", "prediction layers are not written for this architecture")),
	Tensors: Rules{StackExperts("mlp.experts", Cfg("moe_num_experts"), "gate_proj", "up_proj", "down_proj")},
	Keys: TextKeys.Then(
		Set("expert_count", Cfg("moe_num_experts")),
		Set("expert_used_count", Cfg("moe_k")),
		Set("interleave_moe_layer_step", Cfg("moe_layer_interval")),
		Set("leading_dense_block_count", Cfg("moe_layer_start_index")),
		Set("expert_feed_forward_length", Opt("moe_intermediate_size")),
		Set("expert_shared_count", Opt("moe_num_shared_experts")),
		Set("expert_shared_feed_forward_length", Choose(All(Or(Opt("moe_num_shared_experts"), false), Not(Null(Opt("intermediate_size"))), Not(Null(Opt("num_key_value_heads")))),
			FloorDiv(Cfg("intermediate_size"), Cfg("num_key_value_heads")), nil)),
	),
})

var _ = Register(Arch{Base: ernie, HF: []string{"PaddleOCRVLForConditionalGeneration"}, GGUF: "paddleocr"})
