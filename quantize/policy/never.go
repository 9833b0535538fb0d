package policy

import "strings"

// never lists the tensors that keep their type, with the reason that receipts show.
// Source: llama-quant.cpp, tensor_allows_quantization.
var never = []struct {
	part  string
	exact bool
	why   string
}{
	{"_norm.weight", false, "a norm"},
	{"ffn_gate_inp.weight", false, "a router gate"},
	{"ffn_gate_tid2eid.weight", false, "a routing table"},
	{"altup", false, "small mixing weights"},
	{"laurel", false, "small mixing weights"},
	{"per_layer_model_proj", false, "a small projection"},
	{"position_embd.weight", true, "position embeddings"},
	{"token_types.weight", true, "token types"},
	{"ssm_conv1d", false, "a small convolution"},
	{"shortconv.conv.weight", false, "a small convolution"},
	{"indexer.k_proj.weight", false, "a small indexer projection"},
	{"indexer.q_proj.weight", false, "a small indexer projection"},
	{"time_mix_first.weight", false, "small RWKV weights"},
	{"time_mix_w0.weight", false, "small RWKV weights"},
	{"time_mix_w1.weight", false, "small RWKV weights"},
	{"time_mix_w2.weight", false, "small RWKV weights"},
	{"time_mix_v0.weight", false, "small RWKV weights"},
	{"time_mix_v1.weight", false, "small RWKV weights"},
	{"time_mix_v2.weight", false, "small RWKV weights"},
	{"time_mix_a0.weight", false, "small RWKV weights"},
	{"time_mix_a1.weight", false, "small RWKV weights"},
	{"time_mix_a2.weight", false, "small RWKV weights"},
	{"time_mix_g1.weight", false, "small RWKV weights"},
	{"time_mix_g2.weight", false, "small RWKV weights"},
	{"time_mix_decay_w1.weight", false, "small RWKV weights"},
	{"time_mix_decay_w2.weight", false, "small RWKV weights"},
	{"time_mix_lerp_fused.weight", false, "small RWKV weights"},
	{"attn_rel_b.weight", false, "relative positions"},
	{".position_embd", false, "position embeddings of an encoder"},
	{"sam.pos_embd", false, "position embeddings of an encoder"},
	{"sam.neck.", false, "an encoder's neck"},
	{"sam.net_", false, "an encoder's convolution"},
	{".rel_pos", false, "relative positions"},
	{".patch_embd", false, "patch embeddings"},
	{".patch_merger", false, "a patch merger"},
	{"a.rvq.codebook", false, "an audio codebook"},
	{"mm.a.code_embd", false, "audio code embeddings"},
}

// kept is why a tensor keeps its type whatever the file type, or empty.
func kept(name string, dims int, o Options) string {
	if dims < 2 {
		return "fewer than two dimensions"
	}
	// the reference's test for the ending also lets names of five bytes pass: its subtraction wraps around
	if !strings.HasSuffix(name, "weight") && len(name) != len("weight")-1 {
		return "not a weight"
	}
	if o.LeaveOutput && name == "output.weight" {
		return "--leave-output-tensor"
	}
	for _, n := range never {
		if name == n.part || !n.exact && strings.Contains(name, n.part) {
			return n.why
		}
	}
	return ""
}
