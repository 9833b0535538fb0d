package arch

import (
	"context"
	"slices"
	"strings"

	"quern/convert/gguf"
)

// What an unknown class of models may be converted as: an entry that has a place for every tensor, agrees with every shape, and
// finds in the checkpoint what a model of its kind cannot do without.

// usual are the classes that unknown ones most often are in all but name, in the order in which they are tried.
var usual = []string{"LlamaForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "MixtralForCausalLM", "Qwen3MoeForCausalLM", "Qwen2MoeForCausalLM",
	"GPTNeoXForCausalLM", "GPT2LMHeadModel", "Gemma2ForCausalLM", "Gemma3ForCausalLM", "Phi3ForCausalLM", "StableLmForCausalLM", "Starcoder2ForCausalLM", "DeepseekV3ForCausalLM", "BertModel", "T5ForConditionalGeneration"}

// Candidates are the class names that may fit an unknown one, one for each entry: those that are it but for the case of letters, those
// that begin like it, the usual ones, the rest by name.
func Candidates(unknown string) []string {
	rank := func(name string) int {
		switch {
		case strings.EqualFold(name, unknown):
			return 0
		case stem(name) == stem(unknown):
			return 1
		case slices.Contains(usual, name):
			return 2 + slices.Index(usual, name)
		}
		return 2 + len(usual)
	}
	names := ClassNames()
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	seen := map[*Arch]bool{}
	return slices.DeleteFunc(names, func(name string) bool {
		a := registry[name]
		twice := seen[a]
		seen[a] = true
		return twice
	})
}

// stem is the beginning of a class name, in lower case: what stands before the digits and the task, "llama" of Llama4ForCausalLM.
func stem(name string) string {
	name, _, _ = strings.Cut(name, "For")
	return strings.ToLower(strings.TrimRight(strings.TrimSuffix(name, "Model"), "0123456789_."))
}

// Fits tells whether the checkpoint of e can be converted by e.Arch with nothing left over and, where the class is a stranger's,
// nothing missing. It plans the conversion and throws it away; an entry that refuses for any reason does not fit.
func Fits(ctx context.Context, e *Env, stranger bool) bool {
	b, err := New(ctx, e)
	if err != nil {
		return false
	}
	if b.trial = true; b.Convert() != nil {
		return false
	}
	for _, d := range b.Dropped {
		if d.Reason != atRunTime {
			return false
		}
	}
	kvs, err := b.Metadata()
	if err != nil || b.Check(kvs) != nil {
		return false
	}
	return !stranger || b.complete(kvs)
}

// needed are roles without which a block of an architecture that has them does not work, each with those that may stand in for
// it. llama.cpp wants them all where its table of the architecture lists them.
var needed = [][]string{
	{"output_norm"}, {"attn_norm", "attn_post_norm"},
	{"attn_q", "attn_qkv", "attn_q_b", "ssm_in", "time_mix_key"}, {"attn_out", "ssm_out", "time_mix_output"},
	{"ffn_norm", "ffn_post_norm", "attn_post_norm"}, {"ffn_up", "ffn_up_exp", "ffn_gate_up_exp", "channel_mix_key"},
	{"ffn_gate", "ffn_gate_exp", "ffn_gate_up_exp", "ffn_gate_shexp"}, {"ffn_down", "ffn_down_exp", "channel_mix_value"},
	{"attn_q_norm"}, {"attn_k_norm"}, {"attn_gate", "ssm_in"},
}

// rmsNorm are usual architectures whose norms are of the root mean square alone. Source: src/models of llama.cpp.
var rmsNorm = []string{"llama", "qwen2", "qwen3", "qwen2moe", "qwen3moe", "gemma2", "gemma3", "phi3", "deepseek2", "baichuan"}

// complete tells whether the outputs have what the architecture needs, and its keys what its norms need.
func (b *Build) complete(kvs []gguf.KV) bool {
	has, normBias := map[string]bool{}, false
	for i := range b.Outputs {
		has[b.Outputs[i].Role] = true
		normBias = normBias || strings.HasSuffix(b.Outputs[i].Name, "attn_norm.bias")
	}
	for _, alternatives := range needed {
		if b.names.has[alternatives[0]] && !slices.ContainsFunc(alternatives, func(r string) bool { return has[r] }) {
			return false
		}
	}
	keys := map[string]bool{}
	for _, kv := range kvs {
		keys[strings.TrimPrefix(kv.Key, b.GGUF+".")] = true
	}
	layer, rms := keys["attention.layer_norm_epsilon"], keys["attention.layer_norm_rms_epsilon"]
	if slices.Contains(rmsNorm, b.GGUF) && (!rms || normBias) {
		return false
	}
	return keys["block_count"] && keys["embedding_length"] && (layer || rms) && (layer || !normBias)
}
