package plan

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"

	"quern/convert/fault"
	"quern/convert/gguf"
)

// sketchName is the name of a header that was made from a configuration.
const sketchName = "config.json"

// sketched tells such a header.
func sketched(f *gguf.File) bool { return f.Name == sketchName }

// sketches are the classes whose tensors follow from config.json alone, with the architecture's name in GGUF.
var sketches = map[string]string{
	"LlamaForCausalLM": "llama", "MistralForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3", "Qwen3MoeForCausalLM": "qwen3moe",
	"Gemma3ForCausalLM": "gemma3", "Gemma3ForConditionalGeneration": "gemma3", "GptOssForCausalLM": "gpt-oss", "DeepseekV3ForCausalLM": "deepseek2",
}

// onlyConfig tells whether a folder has a config.json and no weights.
func onlyConfig(src fs.FS) bool {
	if _, err := fs.Stat(src, "config.json"); err != nil {
		return false
	}
	for _, pattern := range []string{"*.safetensors", "*.safetensors.index.json", "*.bin", "*.pth", "*.pt", "*.gguf"} {
		if m, _ := fs.Glob(src, pattern); len(m) > 0 {
			return false
		}
	}
	return true
}

// sketch makes the header of the file that a checkpoint with this configuration would become: metadata as far as planning reads
// it, and every tensor's name, shape and 16-bit type. Nothing can be built from it. It is nil for classes that are not sketched.
func sketch(src fs.FS) (*gguf.File, error) {
	data, err := fs.ReadFile(src, "config.json")
	if err != nil {
		return nil, err
	}
	var top map[string]any
	if err := json.Unmarshal(data, &top); err != nil {
		return nil, &fault.Invalid{On: "config.json", Says: "is not JSON", Err: err}
	}
	class := ""
	if list, ok := top["architectures"].([]any); ok && len(list) > 0 {
		class, _ = list[0].(string)
	}
	arch, ok := sketches[class]
	if !ok {
		return nil, nil // the conversion says what it knows of the class, and that the weights are missing
	}
	if text, ok := top["text_config"].(map[string]any); ok {
		for k, v := range top {
			if _, has := text[k]; !has {
				text[k] = v
			}
		}
		top = text
	}
	d := &draft{arch: arch, c: top}
	d.metadata()
	d.tensors()
	if d.err != nil {
		return nil, d.err
	}
	p, err := gguf.Layout(d.meta, d.outs, 32)
	if err != nil {
		return nil, err
	}
	return &gguf.File{Plan: p, Name: sketchName, Version: 3}, nil
}

// draft collects what the configuration says.
type draft struct {
	arch string
	c    map[string]any
	meta []gguf.KV
	outs []gguf.Output
	err  error
}

// maxSketch bounds every number of a configuration; no published one comes near.
const maxSketch = 1 << 24

func (d *draft) num(key string, otherwise int64) int64 {
	f, ok := d.c[key].(float64)
	if !ok {
		return otherwise
	}
	if f < 0 || f > maxSketch || f != float64(int64(f)) {
		d.err = &fault.Invalid{On: "config.json", Says: fmt.Sprintf("%s is %v, between 0 and %d are read", key, f, maxSketch)}
		return otherwise
	}
	return int64(f)
}

func (d *draft) need(key string) int64 {
	n := d.num(key, 0)
	if n == 0 && d.err == nil {
		d.err = &fault.Invalid{On: "config.json", Says: "has no " + key}
	}
	return n
}

func (d *draft) key(name string, v int64) {
	if v > 0 {
		d.meta = append(d.meta, gguf.KV{Key: d.arch + "." + name, Value: uint32(v)})
	}
}

func (d *draft) heads() (heads, kv, size int64) {
	heads = max(d.need("num_attention_heads"), 1)
	return heads, d.num("num_key_value_heads", heads), d.num("head_dim", d.need("hidden_size")/heads)
}

func (d *draft) metadata() {
	d.meta = append(d.meta, gguf.KV{Key: "general.architecture", Value: d.arch})
	heads, kv, size := d.heads()
	d.key("block_count", d.need("num_hidden_layers"))
	d.key("context_length", d.num("max_position_embeddings", 131072))
	d.key("embedding_length", d.need("hidden_size"))
	d.key("feed_forward_length", d.num("intermediate_size", 0))
	d.key("attention.head_count", heads)
	d.key("vocab_size", d.num("vocab_size", 262208))
	experts := d.experts()
	d.key("expert_count", experts)
	if experts > 0 {
		d.key("expert_used_count", d.num("num_experts_per_tok", d.num("experts_per_token", 0)))
		d.key("expert_feed_forward_length", d.num("moe_intermediate_size", d.num("intermediate_size", 0)))
		d.key("expert_shared_count", d.num("n_shared_experts", 0))
		d.key("leading_dense_block_count", d.num("first_k_dense_replace", 0))
	}
	if w := d.num("sliding_window", 0); w > 0 && (d.arch == "gemma3" || d.arch == "gpt-oss") {
		d.key("attention.sliding_window", w)
	}
	if d.arch != "deepseek2" {
		d.key("attention.head_count_kv", kv)
		d.key("attention.key_length", size)
		d.key("attention.value_length", size)
		return
	}
	rank, rope := d.need("kv_lora_rank"), d.need("qk_rope_head_dim")
	d.key("attention.head_count_kv", 1)
	d.key("attention.key_length", rank+rope)
	d.key("attention.value_length", rank)
	d.key("attention.key_length_mla", d.need("qk_nope_head_dim")+rope)
	d.key("attention.value_length_mla", d.need("v_head_dim"))
	d.key("attention.kv_lora_rank", rank)
	d.key("attention.q_lora_rank", d.need("q_lora_rank"))
	d.key("rope.dimension_count", rope)
}

func (d *draft) experts() int64 {
	return d.num("num_experts", d.num("num_local_experts", d.num("n_routed_experts", 0)))
}

func (d *draft) add(name string, shape ...int64) {
	o := gguf.Output{Name: name, Type: gguf.BF16, Shape: shape}
	if len(shape) == 1 || strings.Contains(name, "gate_inp") {
		o.Type = gguf.F32
	}
	d.outs = append(d.outs, o)
}

func (d *draft) tensors() {
	if d.err != nil {
		return
	}
	e, vocab := d.need("hidden_size"), d.num("vocab_size", 262208)
	d.add("token_embd.weight", e, vocab)
	for i := range min(d.need("num_hidden_layers"), 4096) {
		b := fmt.Sprintf("blk.%d.", i)
		d.add(b+"attn_norm.weight", e)
		d.attention(b, e)
		d.add(b+"ffn_norm.weight", e)
		d.network(b, e, i)
	}
	d.add("output_norm.weight", e)
	tied, stated := d.c["tie_word_embeddings"].(bool)
	if stated && !tied || !stated && d.arch != "gemma3" {
		d.add("output.weight", e, vocab)
	}
}

func (d *draft) attention(b string, e int64) {
	heads, kv, size := d.heads()
	if d.arch == "deepseek2" {
		q, rank, rope, nope, v := d.need("q_lora_rank"), d.need("kv_lora_rank"), d.need("qk_rope_head_dim"), d.need("qk_nope_head_dim"), d.need("v_head_dim")
		d.add(b+"attn_q_a.weight", e, q)
		d.add(b+"attn_q_a_norm.weight", q)
		d.add(b+"attn_q_b.weight", q, heads*(nope+rope))
		d.add(b+"attn_kv_a_mqa.weight", e, rank+rope)
		d.add(b+"attn_kv_a_norm.weight", rank)
		d.add(b+"attn_k_b.weight", nope, rank, heads)
		d.add(b+"attn_v_b.weight", rank, v, heads)
		d.add(b+"attn_output.weight", heads*v, e)
		return
	}
	d.add(b+"attn_q.weight", e, heads*size)
	d.add(b+"attn_k.weight", e, kv*size)
	d.add(b+"attn_v.weight", e, kv*size)
	d.add(b+"attn_output.weight", heads*size, e)
	switch d.arch {
	case "qwen3", "qwen3moe", "gemma3":
		d.add(b+"attn_q_norm.weight", size)
		d.add(b+"attn_k_norm.weight", size)
	}
	if d.arch == "gemma3" {
		d.add(b+"post_attention_norm.weight", e)
		d.add(b+"post_ffw_norm.weight", e)
	}
}

func (d *draft) network(b string, e, layer int64) {
	n, ff := d.experts(), d.num("intermediate_size", 0)
	if n == 0 || layer < d.num("first_k_dense_replace", 0) {
		d.add(b+"ffn_gate.weight", e, ff)
		d.add(b+"ffn_up.weight", e, ff)
		d.add(b+"ffn_down.weight", ff, e)
		return
	}
	ff = d.num("moe_intermediate_size", ff)
	d.add(b+"ffn_gate_inp.weight", e, n)
	for _, name := range []string{"ffn_gate_exps.weight", "ffn_up_exps.weight"} {
		d.expert(b+name, e, ff, n)
	}
	d.expert(b+"ffn_down_exps.weight", ff, e, n)
	if shared := d.num("n_shared_experts", 0) * ff; shared > 0 {
		d.add(b+"ffn_gate_shexp.weight", e, shared)
		d.add(b+"ffn_up_shexp.weight", e, shared)
		d.add(b+"ffn_down_shexp.weight", shared, e)
	}
}

// expert adds the matrices of all experts, in the four bits in which gpt-oss publishes its own.
func (d *draft) expert(name string, shape ...int64) {
	d.add(name, shape...)
	if d.arch == "gpt-oss" {
		d.outs[len(d.outs)-1].Type = gguf.MXFP4
	}
}
