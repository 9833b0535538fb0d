package arch

// Kimi K3: Kimi Linear with residuals across layers, experts in a narrower space and a gate on every kind of attention.
//
// Peculiar: a norm and a projection of residuals become their product; g_proj stands for different tensors in the two kinds of layers;
// experts in compressed-tensors' MXFP4 are repacked, before all other tensors; the reference has a chat template of its own.
//
// Source: llama.cpp v0.5.0, conversion/kimi_k3.py: KimiK3Model.

import (
	"fmt"
	"strings"

	"quern/convert/dequant"
	"quern/convert/fault"
	"quern/convert/safetensors"
	"quern/convert/view"
	"quern/convert/vocab"
)

var kimiStored = mxExperts{
	members: "model.layers.{b}.block_sparse_moe.experts.{x}.{w}.weight_packed",
	count:   Cfg("num_experts"),
	words:   []string{"w1:gate", "w2:down", "w3:up"},
	scale:   func(codes string) string { return strings.TrimSuffix(codes, "_packed") + "_scale" },
}

// kimiMXFP4 holds where the experts are stored so.
var kimiMXFP4 = In("quantization_config", All(Is(Opt("quant_method"), "compressed-tensors"), Is(Opt("format"), "mxfp4-pack-quantized")))

// latentBlock holds in layers with attention over a latent.
var latentBlock = AtBlock(latentLayers)

var _ = Register(Arch{
	HF:         []string{"KimiK3ForConditionalGeneration"},
	GGUF:       "kimi-k3",
	Names:      TextNames,
	Dequantize: kimiPacked,
	Extra:      []Generate{{Doc: "experts in MXFP4, repacked", If: kimiMXFP4, Make: func(b *Build) ([]Item, error) { return nil, kimiStored.write(b, 0) }}},
	Tensors: Rules{
		residuals("self_attention_res", "attn_res_score"), residuals("mlp_res", "ffn_res_score"), residuals("output_attn_res", "output_res_score"),
		On("*.A_log", View("float32", func(_ *Build, _ Item, v view.Tensor) (view.Tensor, error) { return view.Cast(v, safetensors.F32) }),
			FirstRows(Cfg("num_attention_heads"))),
	}.Also(deltaRules(NegExp), Given(latentBlock, Rename("*.self_attn.g_proj.weight", "@attn_gate"))).Then(
		Rename("*.self_attn.g_proj.weight", "@ssm_g"),
	).Also(kimiExperts(Cfg("num_experts")), mlaSplit),
	Keys: Keys{
		Fail(Not(Opt("mla_use_nope")), "attention over a latent with rope"),
		Fail(Not(Is(Opt("moe_router_activation_func"), "sigmoid")), "a score function of the experts other than the sigmoid"),
		Fail(Not(Is(Opt("hidden_act"), "situ")), "an activation other than situ"),
		Let("num_key_value_heads", 1),
	}.Also(TextKeys).Then(
		Set("vocab_size", Cfg("vocab_size")),
		Set("attention.head_count_kv", ByLayer(latentLayers, 1, 0)),
		Set("ssm.conv_kernel", In("linear_attn_config", Cfg("short_conv_kernel_size"))),
		Set("kda.head_dim", In("linear_attn_config", Cfg("head_dim"))),
		Set("kda.gate_lower_bound", linearAttn("gate_lower_bound")),
		Set("attention.q_lora_rank", Opt("q_lora_rank")),
		Set("attention.kv_lora_rank", Cfg("kv_lora_rank")),
		Set("rope.dimension_count", Cfg("qk_rope_head_dim")),
		Set("attention.key_length", Add(Cfg("kv_lora_rank"), Cfg("qk_rope_head_dim"))),
		Set("attention.value_length", Cfg("kv_lora_rank")),
		Set("attention.key_length_mla", Add(Cfg("qk_nope_head_dim"), Cfg("qk_rope_head_dim"))),
		Set("attention.value_length_mla", Cfg("v_head_dim")),
		Set("expert_feed_forward_length", Cfg("moe_intermediate_size")),
		Set("expert_shared_count", Cfg("num_shared_experts")),
		Set("leading_dense_block_count", Cfg("first_k_dense_replace")),
		Set("expert_weights_scale", Cfg("routed_scaling_factor")),
		Set("expert_weights_norm", Flag("moe_renormalize")),
		Set("expert_gating_func", gatingFuncs["sigmoid"]),
		Set("expert_latent_length", Opt("routed_expert_hidden_size")),
		Set("activation.situ_beta", Cfg("activation_situ_beta")),
		Set("activation.situ_linear_beta", Cfg("activation_situ_linear_beta")),
		Set("attn_res.block_size", Cfg("attn_res_block_size")),
	),
	Vocab:  vocab.KimiK3,
	Odd:    []string{"attn_q", "attn_k", "attn_v", "attn_out", "ffn_gate_exp", "ffn_up_exp", "ffn_down_exp"}, // absorbed form; experts in a space of their own
	Uneven: true,
})

// kimiPacked leaves packed experts to the repacking, and refuses other packed tensors.
func kimiPacked(b *Build, s *dequant.Set) (bool, error) {
	packed, err := b.Truth(kimiMXFP4)
	if !packed || err != nil {
		return false, err
	}
	for _, name := range s.Names() {
		if strings.HasSuffix(name, ".weight_packed") && !Pattern("model.layers.#.block_sparse_moe.experts.#.{w1|w2|w3}.weight_packed").Match(name) {
			return false, &fault.Unsupported{On: name, Says: "MXFP4 outside of the experts"}
		}
	}
	return true, nil
}

// residuals multiplies <name>_norm and <name>_proj, which nothing else uses, when the second of them comes.
func residuals(name, role string) Rule {
	return Code(Pattern("*"+name+"_{norm|proj}.weight"), "product of norm and projection as @"+role, func(b *Build, it Item) ([]Item, error) {
		key := fmt.Sprintf("%s.%d", name, it.Block)
		first, twice := b.Scratch[key].(Item)
		if !twice {
			b.Scratch[key] = it
			b.Last(func() error {
				if b.Scratch[key] == nil {
					return nil
				}
				return &fault.Invalid{On: it.Source, Says: "the other one of norm and projection is missing"}
			})
			return nil, nil
		}
		b.Scratch[key] = nil
		x, err := view.Reshape(first.View, -1)
		if err != nil {
			return nil, err
		}
		y, err := view.Reshape(it.View, -1)
		if err != nil {
			return nil, err
		}
		if it.View, err = view.Zip(safetensors.F32, func(_ int64, dst []float32, srcs [][]float32) {
			for i := range dst {
				dst[i] *= srcs[1][i]
			}
		}, x, y); err != nil {
			return nil, err
		}
		it.Name, err = b.renamed("@"+role, it)
		return []Item{it}, err
	})
}
