package convert_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"quern/convert"
	"quern/convert/arch"
	"quern/convert/conformance"
	"quern/convert/gguf"
)

// The adapter of lora-llama as torch.save writes it gives the same file: testdata/adapter_model.bin holds its tensors in the
// safetensors file's order, and the reference's answer to it is the recorded one.
func TestAdapterPickled(t *testing.T) {
	pickled, err := os.ReadFile("testdata/adapter_model.bin")
	if err != nil {
		t.Fatal(err)
	}
	tree, err := conformance.OpenBundle("testdata/lora.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	c, err := conformance.OpenCase(tree, "lora/lora-llama")
	if err != nil {
		t.Fatal(err)
	}
	want, err := c.Answer("f32")
	if err != nil {
		t.Fatal(err)
	}
	m, err := openCase(t, "lora-llama", convert.Options{}, func(a, _ map[string][]byte) {
		delete(a, "adapter_model.safetensors")
		a["adapter_model.bin"] = pickled
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	data, err := write(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	if err := want.Check(strings.NewReader(string(data)), int64(len(data)), c.Tolerance); err != nil {
		t.Error(err)
	}
}

// Auto is the adapter's own precision where that has 16 bits, and F16 else, as for models.
func TestAdapterAutoTypes(t *testing.T) {
	for name, want := range map[string]arch.FileType{"lora-llama": arch.F16, "lora-qwen3": arch.BF16} {
		m, err := openCase(t, name, convert.Options{Type: arch.Auto}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if m.Type != want || !slices.ContainsFunc(m.Plan.Outputs, func(o gguf.Output) bool { return o.Type == want.Tensor() }) {
			t.Errorf("%s: %s, want %s", name, m.Type, want)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}

// GPT-2 stores its matrices the other way round, pairs do not: PEFT says so with fan_in_fan_out. The reference turns the pair
// like the matrix, so that its factors have the shapes of the transpose; here they fit the tensor of the model's file.
func TestAdapterOfConv1D(t *testing.T) {
	const base = `{"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 64, "n_layer": 3, "n_head": 4, "n_ctx": 128, "n_positions": 128, "vocab_size": 512, "layer_norm_epsilon": 1e-5}`
	m, err := openCase(t, "lora-gptneox-fused", convert.Options{}, func(a, b map[string][]byte) {
		b["config.json"] = []byte(base)
		a["adapter_config.json"] = []byte(`{"lora_alpha": 8, "fan_in_fan_out": true}`)
		data := string(a["adapter_model.safetensors"])
		data = strings.ReplaceAll(data, "gpt_neox.layers.", "transformer.h.")
		data = strings.ReplaceAll(data, "attention.query_key_value.", "attn.c_attn.")
		data = strings.ReplaceAll(data, "attention.dense.", "attn.c_proj.")
		a["adapter_model.safetensors"] = resized(a["adapter_model.safetensors"], data)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	qkv := 0
	for _, o := range m.Plan.Outputs {
		switch {
		case strings.HasSuffix(o.Name, "attn_qkv.weight.lora_a") && slices.Equal(o.Shape, []int64{64, 4}), strings.HasSuffix(o.Name, "attn_qkv.weight.lora_b") && slices.Equal(o.Shape, []int64{4, 192}):
			qkv++
		case strings.Contains(o.Name, "attn_qkv"):
			t.Errorf("%s has shape %v", o.Name, o.Shape)
		}
	}
	if qkv == 0 {
		t.Error("no projection was written")
	}
}

// resized gives a safetensors file whose header was edited its new length.
func resized(was []byte, now string) []byte {
	out := []byte(now)
	n := uint64(was[0]) | uint64(was[1])<<8 | uint64(was[2])<<16
	n -= uint64(len(was) - len(out))
	out[0], out[1], out[2] = byte(n), byte(n>>8), byte(n>>16)
	return out
}
