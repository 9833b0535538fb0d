package plan

import (
	"fmt"
	"strings"

	"quern/convert/gguf"
)

// form is what the tensors of a class are beside those that all have. TestSketchEqualsConverter holds each against the converter's
// own list for the recorded checkpoints.
type form struct {
	arch     string // in GGUF
	bias     bool   // of query, key and value, whatever the configuration says
	headNorm bool   // of each head's query and key
	fullNorm bool   // of all heads' query and key at once
	sandwich bool   // norms behind attention and network too
	behind   bool   // norms behind them only
	late     bool   // the network's norm is called the attention's later one
	parallel bool   // attention and network share a norm
	fused    bool   // one tensor for query, key and value
	fusedUp  bool   // one tensor for gate and up
	gateless bool   // no gate
	layered  bool   // norms with biases, and every matrix too
	latent   bool   // attention over a compressed row
	sinks    bool   // a score for nothing, by head; biases everywhere; experts in four bits
	scored   bool   // a bias for the choice of experts
	tied     bool   // no output of its own unless the configuration says so
}

// forms are the classes whose tensors follow from config.json alone.
var forms = map[string]form{
	"LlamaForCausalLM": {arch: "llama"}, "MistralForCausalLM": {arch: "llama"}, "MixtralForCausalLM": {arch: "llama"},
	"GraniteForCausalLM": {arch: "granite"}, "SmolLM3ForCausalLM": {arch: "smollm3"}, "Ernie4_5ForCausalLM": {arch: "ernie4_5"},
	"ArceeForCausalLM": {arch: "arcee", gateless: true},
	"Qwen2ForCausalLM": {arch: "qwen2", bias: true}, "Qwen2MoeForCausalLM": {arch: "qwen2moe", bias: true},
	"Qwen3ForCausalLM": {arch: "qwen3", headNorm: true}, "Qwen3MoeForCausalLM": {arch: "qwen3moe", headNorm: true},
	"GemmaForCausalLM": {arch: "gemma", tied: true}, "Gemma2ForCausalLM": {arch: "gemma2", sandwich: true, tied: true},
	"Gemma3ForCausalLM": {arch: "gemma3", headNorm: true, sandwich: true, tied: true}, "Gemma3ForConditionalGeneration": {arch: "gemma3", headNorm: true, sandwich: true, tied: true},
	"Phi3ForCausalLM": {arch: "phi3", fused: true, fusedUp: true}, "Glm4ForCausalLM": {arch: "glm4", sandwich: true, fusedUp: true},
	"Olmo2ForCausalLM": {arch: "olmo2", fullNorm: true, behind: true}, "Exaone4ForCausalLM": {arch: "exaone4", headNorm: true, behind: true},
	"SeedOssForCausalLM": {arch: "seed_oss", bias: true, late: true}, "Starcoder2ForCausalLM": {arch: "starcoder2", gateless: true, layered: true},
	"CohereForCausalLM": {arch: "command-r", parallel: true, tied: true}, "Cohere2ForCausalLM": {arch: "cohere2", parallel: true, tied: true},
	"OlmoeForCausalLM": {arch: "olmoe", fullNorm: true}, "Olmo3ForCausalLM": {arch: "olmo2", fullNorm: true, behind: true},
	"HunYuanDenseV1ForCausalLM": {arch: "hunyuan-dense", headNorm: true}, "ApertusForCausalLM": {arch: "apertus", headNorm: true, gateless: true},
	"Mistral3ForConditionalGeneration": {arch: "llama"}, "Qwen2_5_VLForConditionalGeneration": {arch: "qwen2vl", bias: true},
	"Qwen3VLForConditionalGeneration": {arch: "qwen3vl", headNorm: true}, "Qwen3VLMoeForConditionalGeneration": {arch: "qwen3vlmoe", headNorm: true},
	"Dots1ForCausalLM": {arch: "dots1", headNorm: true, scored: true}, "MiniMaxM2ForCausalLM": {arch: "minimax-m2", fullNorm: true, scored: true},
	"GraniteMoeForCausalLM": {arch: "granitemoe"},
	"GptOssForCausalLM":     {arch: "gpt-oss", sinks: true, late: true}, "DeepseekV2ForCausalLM": {arch: "deepseek2", latent: true}, "DeepseekV3ForCausalLM": {arch: "deepseek2", latent: true, scored: true},
}

func (d *draft) add(name string, shape ...int64) {
	o := gguf.Output{Name: name, Type: gguf.BF16, Shape: shape}
	if len(shape) == 1 || strings.Contains(name, "gate_inp") {
		o.Type = gguf.F32
	}
	d.outs = append(d.outs, o)
}

// norm adds a norm, with a bias where all have one.
func (d *draft) norm(name string, width int64) {
	d.add(name+".weight", width)
	if d.layered {
		d.add(name+".bias", width)
	}
}

// matrix adds a matrix, and its bias where biased.
func (d *draft) matrix(name string, in, out int64, biased bool) {
	d.add(name+".weight", in, out)
	if biased {
		d.add(name+".bias", out)
	}
}

func (d *draft) flag(key string) bool { b, _ := d.c[key].(bool); return b }

func (d *draft) tensors() {
	if d.err != nil {
		return
	}
	e, vocab := d.need("hidden_size"), d.num("vocab_size", 262208)
	d.add("token_embd.weight", e, vocab)
	for i := range min(d.need("num_hidden_layers"), 4096) {
		d.block(fmt.Sprintf("blk.%d.", i), e, i)
	}
	d.norm("output_norm", e)
	tied, stated := d.c["tie_word_embeddings"].(bool)
	if stated && !tied || !stated && !d.tied {
		d.add("output.weight", e, vocab)
	}
}

func (d *draft) block(b string, e, i int64) {
	if !d.behind {
		d.norm(b+"attn_norm", e)
	}
	if d.latent {
		d.latentAttention(b, e)
	} else {
		d.attention(b, e)
	}
	switch {
	case d.late:
		d.norm(b+"post_attention_norm", e)
	case !d.parallel && !d.behind:
		d.norm(b+"ffn_norm", e)
	}
	if d.sandwich || d.behind {
		d.norm(b+"post_attention_norm", e)
		d.norm(b+"post_ffw_norm", e)
	}
	d.network(b, e, i)
}

func (d *draft) attention(b string, e int64) {
	heads, kv, size := d.heads()
	stated := d.flag("attention_bias") || d.flag("use_bias") && d.layered || d.sinks
	biased := d.bias || stated
	if d.fused {
		d.matrix(b+"attn_qkv", e, (heads+2*kv)*size, biased)
	} else {
		d.matrix(b+"attn_q", e, heads*size, biased)
		d.matrix(b+"attn_k", e, kv*size, biased)
		d.matrix(b+"attn_v", e, kv*size, biased)
	}
	d.matrix(b+"attn_output", heads*size, e, stated && !d.bias || d.flag("attention_out_bias"))
	switch {
	case d.headNorm:
		d.add(b+"attn_q_norm.weight", size)
		d.add(b+"attn_k_norm.weight", size)
	case d.fullNorm:
		d.add(b+"attn_q_norm.weight", heads*size)
		d.add(b+"attn_k_norm.weight", kv*size)
	case d.parallel && d.flag("use_qk_norm"):
		d.add(b+"attn_q_norm.weight", size, heads)
		d.add(b+"attn_k_norm.weight", size, kv)
	}
	if d.sinks {
		d.add(b+"attn_sinks.weight", heads)
	}
}

// latentAttention is that of DeepSeek V3: the key's expansion is turned over, the value's is not.
func (d *draft) latentAttention(b string, e int64) {
	heads, _, _ := d.heads()
	q, rank, rope, nope, v := d.num("q_lora_rank", 0), d.need("kv_lora_rank"), d.need("qk_rope_head_dim"), d.need("qk_nope_head_dim"), d.need("v_head_dim")
	if q > 0 {
		d.add(b+"attn_q_a.weight", e, q)
		d.add(b+"attn_q_a_norm.weight", q)
		d.add(b+"attn_q_b.weight", q, heads*(nope+rope))
	} else {
		d.add(b+"attn_q.weight", e, heads*(nope+rope))
	}
	d.add(b+"attn_kv_a_mqa.weight", e, rank+rope)
	d.add(b+"attn_kv_a_norm.weight", rank)
	d.add(b+"attn_k_b.weight", nope, rank, heads)
	d.add(b+"attn_v_b.weight", rank, v, heads)
	d.add(b+"attn_output.weight", heads*v, e)
}

func (d *draft) network(b string, e, layer int64) {
	n, ff := d.experts(), d.num("intermediate_size", 0)
	if n > 0 && layer >= d.num("first_k_dense_replace", 0) {
		d.expertNetwork(b, e, n, d.num("moe_intermediate_size", ff))
		return
	}
	biased := d.flag("mlp_bias") || d.flag("use_bias") && d.layered
	if d.fusedUp {
		d.matrix(b+"ffn_up", e, 2*ff, biased)
	} else {
		if !d.gateless {
			d.matrix(b+"ffn_gate", e, ff, biased)
		}
		d.matrix(b+"ffn_up", e, ff, biased)
	}
	d.matrix(b+"ffn_down", ff, e, biased)
}

func (d *draft) expertNetwork(b string, e, n, ff int64) {
	d.matrix(b+"ffn_gate_inp", e, n, d.sinks)
	for _, x := range []struct {
		name    string
		in, out int64
	}{{"ffn_gate_exps", e, ff}, {"ffn_up_exps", e, ff}, {"ffn_down_exps", ff, e}} {
		d.add(b+x.name+".weight", x.in, x.out, n)
		if d.sinks {
			d.outs[len(d.outs)-1].Type = gguf.MXFP4
			d.add(b+x.name+".bias", x.out, n)
		}
	}
	if d.scored {
		d.add(b+"exp_probs_b.bias", n)
	}
	shared := d.num("n_shared_experts", 0) * ff
	if own := d.num("shared_expert_intermediate_size", 0); own > 0 {
		shared = own
		d.add(b+"ffn_gate_inp_shexp.weight", e, 1)
	}
	if shared > 0 {
		d.add(b+"ffn_gate_shexp.weight", e, shared)
		d.add(b+"ffn_up_shexp.weight", e, shared)
		d.add(b+"ffn_down_shexp.weight", shared, e)
	}
}
