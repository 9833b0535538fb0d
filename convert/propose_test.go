package convert_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"quern/convert"
	"quern/convert/conformance"
	"quern/convert/fault"
)

// TestProposal wants an unknown class to be proposed as the known one whose names and shapes it has, as its namesake before others,
// and as none where a tensor is left over.
func TestProposal(t *testing.T) {
	tree, err := corpus()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, unknown, want string }{
		{"llama3", "FooForCausalLM", "LlamaForCausalLM"},
		{"smollm2", "FooForCausalLM", "LlamaForCausalLM"},
		{"mixtral", "FooForCausalLM", "LlamaForCausalLM"}, // one entry
		{"qwen3-06b", "FooForCausalLM", "Qwen3ForCausalLM"},
		{"qwen3moe", "FooForCausalLM", "Qwen3MoeForCausalLM"},
		{"gemma2-2b-it", "FooForCausalLM", "Gemma2ForCausalLM"},
		{"phi3-mini-4k", "FooForCausalLM", "Phi3ForCausalLM"},
		{"gpt2", "FooForCausalLM", "GPT2LMHeadModel"},
		{"starcoder2-3b", "FooForCausalLM", "Starcoder2ForCausalLM"},
		{"mpt-7b", "MptForCausalLM", "MPTForCausalLM"},
		{"olmo2", "Olmo9ForCausalLM", "Olmo2ForCausalLM"},
		{"refuse-unknown-tensor", "FooForCausalLM", ""},
	} {
		o, err := conformance.OpenCase(tree, "convert/"+c.name)
		if err != nil {
			t.Fatal(err)
		}
		src, err := o.Checkpoint()
		if err != nil {
			t.Fatal(err)
		}
		got, err := proposed(t, src.(fstest.MapFS), c.unknown)
		var u *fault.Unsupported
		if !errors.As(err, &u) || got != c.want {
			t.Errorf("%s as %s: proposed %q, want %q: %v", c.name, c.unknown, got, c.want, err)
		}
	}
}

// proposed is the class that the error about an unknown one proposes.
func proposed(t *testing.T, src fstest.MapFS, unknown string) (string, error) {
	t.Helper()
	var config map[string]any
	if f := src["config.json"]; f == nil {
		return "", nil
	} else if err := json.Unmarshal(f.Data, &config); err != nil {
		return "", err
	}
	config["architectures"] = []string{unknown}
	for _, k := range []string{"text_config", "llm_config"} {
		if sub, ok := config[k].(map[string]any); ok {
			delete(sub, "architectures")
		}
	}
	data, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	bent := fstest.MapFS{}
	for name, f := range src {
		bent[name] = f
	}
	bent["config.json"] = &fstest.MapFile{Data: data}
	m, err := convert.Open(t.Context(), bent, convert.Options{Dir: "bent"})
	if err == nil {
		return "", m.Close()
	}
	var u *fault.Unsupported
	if !errors.As(err, &u) {
		return "", err
	}
	_, rest, _ := strings.Cut(u.Next, "--as ")
	name, _, _ := strings.Cut(rest, " ")
	return strings.TrimPrefix(name, "NAME"), err // NAME stands where none is proposed
}
