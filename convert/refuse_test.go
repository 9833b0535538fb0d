package convert_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"quern/convert"
	"quern/convert/conformance"
	"quern/convert/fault"
)

// small is a Llama of two layers as a case; tests bend it.
type small struct {
	config  map[string]any
	tensors [][]any
}

func newSmall() *small {
	s := &small{config: map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "hidden_size": 8, "intermediate_size": 16,
		"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 10, "max_position_embeddings": 32,
		"rms_norm_eps": 1e-5, "rope_theta": 10000.0,
	}}
	add := func(name string, shape ...int) { s.tensors = append(s.tensors, []any{name, "BF16", shape}) }
	add("model.embed_tokens.weight", 10, 8)
	add("model.norm.weight", 8)
	for i := range 2 {
		l := fmt.Sprintf("model.layers.%d.", i)
		add(l+"input_layernorm.weight", 8)
		add(l+"post_attention_layernorm.weight", 8)
		add(l+"self_attn.q_proj.weight", 8, 8)
		add(l+"self_attn.k_proj.weight", 4, 8)
		add(l+"self_attn.v_proj.weight", 4, 8)
		add(l+"self_attn.o_proj.weight", 8, 8)
		add(l+"mlp.gate_proj.weight", 16, 8)
		add(l+"mlp.up_proj.weight", 16, 8)
		add(l+"mlp.down_proj.weight", 8, 16)
	}
	return s
}

// rename gives the tensor at index i another name; "" takes it away.
func (s *small) rename(from, to string) {
	for i, t := range s.tensors {
		if t[0] == from && to == "" {
			s.tensors = append(s.tensors[:i:i], s.tensors[i+1:]...)
			return
		}
		if t[0] == from {
			t[0] = to
		}
	}
}

func (s *small) shape(name string, shape ...int) {
	for _, t := range s.tensors {
		if t[0] == name {
			t[2] = shape
		}
	}
}

// checkpoint writes the files.
func (s *small) checkpoint(t *testing.T) fstest.MapFS {
	t.Helper()
	text := func(v any) *fstest.MapFile {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return &fstest.MapFile{Data: data}
	}
	tree := fstest.MapFS{
		"convert/small/case.json":         text(map[string]any{"shards": map[string]any{"model.safetensors": s.tensors}}),
		"convert/small/files/config.json": text(s.config),
	}
	c, err := conformance.OpenCase(tree, "convert/small")
	if err != nil {
		t.Fatal(err)
	}
	src, err := c.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	return src.(fstest.MapFS)
}

// open plans the conversion.
func (s *small) open(t *testing.T, o convert.Options) (*convert.Model, error) {
	t.Helper()
	o.Dir = "small"
	return convert.Open(t.Context(), s.checkpoint(t), o)
}

// TestRefusals wants each contradiction to be an error that names what and where, before anything is written.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name    string
		bend    func(*small)
		options convert.Options
		want    []string // parts of the message
		missing bool     // *fault.Unsupported, not *fault.Invalid
	}{
		{"wrong width", func(s *small) { s.shape("model.layers.1.mlp.up_proj.weight", 12, 8) }, convert.Options{},
			[]string{"model.layers.1.mlp.up_proj.weight", "[12 8]", "16"}, false},
		{"wrong heads", func(s *small) { s.config["num_key_value_heads"] = 2 }, convert.Options{}, []string{"k_proj", "[4 8]", "8"}, false},
		{"odd heads", func(s *small) { s.config["num_attention_heads"] = 3 }, convert.Options{}, []string{"_proj", "rotary"}, false},
		{"lost layer", func(s *small) { s.config["num_hidden_layers"] = 3 }, convert.Options{}, []string{"no tensor of layer 2", "3 layers"}, false},
		{"lost matrix", func(s *small) { s.rename("model.layers.0.mlp.down_proj.weight", "") }, convert.Options{},
			[]string{"layer 0 lacks ffn_down", "layer 1 has"}, false},
		{"lost embedding", func(s *small) { s.rename("model.embed_tokens.weight", "") }, convert.Options{}, []string{"token embedding"}, false},
		{"extra layer", func(s *small) { s.config["num_hidden_layers"] = 1 }, convert.Options{}, []string{"9 of 20 tensors", "model.layers.1."}, true},
		{"unknown tensor", func(s *small) { s.rename("model.norm.weight", "model.nrom.weight") }, convert.Options{},
			[]string{"model.nrom.weight", "nearest known: model.norm"}, true},
		{"million layers", func(s *small) { s.config["num_hidden_layers"] = 1_000_000 }, convert.Options{}, []string{"1000000 layers", "16384"}, false},
		{"negative layers", func(s *small) { s.config["num_hidden_layers"] = -1 }, convert.Options{}, []string{"-1 layers"}, false},
		{"huge heads", func(s *small) { s.config["num_attention_heads"] = int64(1) << 62 }, convert.Options{}, []string{"proj"}, false},
		{"no heads", func(s *small) { s.config["num_attention_heads"] = 0 }, convert.Options{}, []string{"heads"}, false},
		{"float count", func(s *small) { s.config["num_hidden_layers"] = 2.0; s.config["vocab_size"] = 10.5 }, convert.Options{}, []string{"vocab_size", "10.5"}, false},
		{"huge head", func(s *small) {
			s.config["head_dim"] = 1 << 40
			s.config["rope_scaling"] = map[string]any{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
				"original_max_position_embeddings": 8192}
		}, convert.Options{}, []string{"head_dim", "65536"}, false},
		{"unknown class", func(s *small) { s.config["architectures"] = []string{"LlamaForNothing"} }, convert.Options{}, []string{"LlamaForNothing"}, true},
		{"unknown --as", func(*small) {}, convert.Options{As: "Llama"}, []string{"Llama"}, true},
		{"no prediction layers", func(*small) {}, convert.Options{NoMTP: true}, []string{"prediction layers"}, true},
		{"unknown type", func(*small) {}, convert.Options{Type: "q4_k"}, []string{"q4_k"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSmall()
			c.bend(s)
			m, err := s.open(t, c.options)
			if err == nil {
				t.Fatal("no error", m.Close())
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q does not say %q", err, w)
				}
			}
			var unsupported *fault.Unsupported
			if errors.As(err, &unsupported) != c.missing {
				t.Errorf("%T: %v", err, err)
			}
		})
	}
}
