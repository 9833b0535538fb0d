package plan

import (
	"encoding/json"
	"fmt"
	"io/fs"

	"quern/convert/arch"
	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/gguf"
)

// sketchName is the name of a header that was made from a configuration.
const sketchName = "config.json"

// sketched tells such a header.
func sketched(f *gguf.File) bool { return f.Name == sketchName }

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

// Sketch makes the header of the file that a checkpoint with this configuration would become: metadata as far as planning reads
// it, and every tensor's name, shape and 16-bit type. Nothing can be built from it. It is nil for classes that nobody knows.
func Sketch(src fs.FS) (*gguf.File, error) {
	cfg, err := config.Load(src, "") // completed as transformers completes it
	if err != nil {
		return nil, err
	}
	class, err := cfg.Architecture()
	f, ok := forms[class]
	if _, known := arch.Lookup(class); err != nil || !known {
		return nil, nil // the conversion says what it knows of the class
	}
	if !ok {
		return nil, unsketched(class)
	}
	var top map[string]any
	if err := json.Unmarshal(cfg.JSON(), &top); err != nil {
		return nil, &fault.Invalid{On: sketchName, Says: "is not JSON", Err: err}
	}
	if text, ok := top["text_config"].(map[string]any); ok {
		for k, v := range top {
			if _, has := text[k]; !has {
				text[k] = v
			}
		}
		top = text
	}
	d := &draft{form: f, c: top}
	if f.latent != (d.num("kv_lora_rank", 0) > 0) {
		return nil, unsketched(class) // another kind of attention under the class's name
	}
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

// unsketched is the answer for a class whose tensors depend on more than its configuration.
func unsketched(class string) error {
	return &fault.Unsupported{On: class, Says: "its tensors do not follow from config.json alone, and there are no weights beside it",
		Next: "plan the whole checkpoint, or org/name on the Hub: only headers are read"}
}

// draft collects what the configuration says.
type draft struct {
	form
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
	if w := d.num("sliding_window", 0); w > 0 { // read for the architectures that have windows
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
	d.key("attention.q_lora_rank", d.num("q_lora_rank", 0))
	d.key("rope.dimension_count", rope)
}

func (d *draft) experts() int64 {
	return d.num("num_experts", d.num("num_local_experts", d.num("n_routed_experts", 0)))
}
