package lora_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"quern/convert/fault"
	"quern/convert/lora"
	"quern/convert/view"
)

const config = `{"peft_type": "LORA", "r": 2, "lora_alpha": 4}`

// weights is a safetensors file of zeros, its data in the order of the names given.
func weights(tensors map[string][]int64, order ...string) []byte {
	if len(order) == 0 {
		order = slices.Sorted(maps.Keys(tensors))
	}
	head, at := map[string]any{}, int64(0)
	for _, name := range order {
		n := int64(4)
		for _, d := range tensors[name] {
			n *= d
		}
		head[name] = map[string]any{"dtype": "F32", "shape": tensors[name], "data_offsets": []int64{at, at + n}}
		at += n
	}
	text, err := json.Marshal(head)
	if err != nil {
		panic(err) // of maps and numbers: cannot fail
	}
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text, make([]byte, at))
}

func folder(config string, data []byte) fs.FS {
	return fstest.MapFS{lora.ConfigFile: {Data: []byte(config)}, lora.Weights: {Data: data}}
}

const (
	qA = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
	qB = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight"
	vA = "base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight"
	vB = "base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight"
	nw = "base_model.model.model.norm.weight"
)

// Norms come first, pairs in the order in which their first member stands in the data.
func TestOrder(t *testing.T) {
	tensors := map[string][]int64{qA: {2, 8}, qB: {8, 2}, vA: {2, 8}, vB: {4, 2}, nw: {8}, "base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight": {8, 8}}
	for _, c := range []struct{ order, want []string }{
		{nil, []string{"model.norm.weight", "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.v_proj.weight"}},
		{[]string{vB, qA, nw, vA, qB}, []string{"model.norm.weight", "model.layers.0.self_attn.v_proj.weight", "model.layers.0.self_attn.q_proj.weight"}},
	} {
		a, err := lora.Open(folder(config, weights(tensors, c.order...)))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range a.Tensors {
			got = append(got, v.Name)
			if _, _, ok := view.Factors(v); ok == (v.Name == "model.norm.weight") {
				t.Errorf("%s: a product: %v", v.Name, ok)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q, want %q", got, c.want)
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What a LoRA file cannot hold is refused by the tensor's name, with what it is.
func TestRefusals(t *testing.T) {
	base := "base_model.model.model.layers.0.self_attn.q_proj"
	for _, c := range []struct {
		name        string
		tensors     map[string][]int64
		on, says    string
		unsupported bool
	}{
		{"DoRA", map[string][]int64{qA: {2, 8}, qB: {8, 2}, base + ".lora_magnitude_vector": {8}}, "lora_magnitude_vector", "DoRA", true},
		{"bias", map[string][]int64{qA: {2, 8}, qB: {8, 2}, base + ".bias": {8}}, base + ".bias", "biases", true},
		{"whole embedding", map[string][]int64{"base_model.model.model.embed_tokens.weight": {16, 8}}, "embed_tokens", "whole embedding", true},
		{"whole head", map[string][]int64{"base_model.model.lm_head.weight": {16, 8}}, "lm_head", "whole embedding", true},
		{"adapter's name", map[string][]int64{base + ".lora_A.default.weight": {2, 8}}, "default", "carries that of the adapter", true},
		{"something else", map[string][]int64{base + ".hada_w1_a": {2, 8}}, "hada_w1_a", "neither", true},
		{"no B", map[string][]int64{qA: {2, 8}}, qA, "factor B", false},
		{"no A", map[string][]int64{qB: {8, 2}}, qB, "factor A", false},
		{"other ranks", map[string][]int64{qA: {2, 8}, qB: {8, 3}}, "q_proj.weight", "do not go together", false},
		{"one factor twice", map[string][]int64{qA: {2, 8}, qB: {8, 2}, "model.layers.0.self_attn.q_proj.lora_A.weight": {2, 8}}, "lora_A", "the same factor", false},
		{"a factor of one dimension", map[string][]int64{qA: {2}, qB: {2}}, "q_proj.weight", "do not go together", false},
	} {
		_, err := lora.Open(folder(config, weights(c.tensors)))
		var no *fault.Unsupported
		if err == nil || errors.As(err, &no) != c.unsupported || !strings.Contains(err.Error(), c.on) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestConfig(t *testing.T) {
	for in, want := range map[string]string{
		config: "", `{"lora_alpha": 2.5, "use_rslora": true}`: "use_rslora", `{"lora_alpha": 1, "alpha_pattern": {"q_proj": 3}}`: "alpha_pattern",
	} {
		a, err := lora.Open(folder(in, weights(map[string][]int64{qA: {2, 8}, qB: {8, 2}})))
		if err != nil || (want == "") != (len(a.Warnings) == 0) || want != "" && !strings.Contains(a.Warnings[0], want) {
			t.Errorf("%s: %v, want a warning of %q", in, err, want)
		}
	}
	for in, want := range map[string]float64{`{"lora_alpha": "16"}`: 16, `{"lora_alpha": " 1e1 "}`: 10, `{"lora_alpha": true}`: 1, `{"lora_alpha": false}`: 0} {
		if c, err := lora.ReadConfig(folder(in, nil)); err != nil || c.Alpha != want {
			t.Errorf("%s: %+v, %v", in, c, err)
		}
	}
	for _, in := range []string{`{}`, `[]`, `{"lora_alpha": "x"}`, `{"lora_alpha": "0x10"}`, `{"lora_alpha": null}`, `{"lora_alpha": 1, "alora_invocation_tokens": [1.5]}`, `{"lora_alpha": 1, "alora_invocation_tokens": [-1]}`, `{"lora_alpha": 1, "alora_invocation_tokens": "x"}`} {
		if _, err := lora.ReadConfig(folder(in, nil)); err == nil {
			t.Errorf("%s: accepted", in)
		}
	}
}

// No configuration and no file makes Open panic, and what it accepts can be closed.
func FuzzOpen(f *testing.F) {
	f.Add(config, weights(map[string][]int64{qA: {2, 8}, qB: {8, 2}, nw: {8}}), false)
	f.Add(`{"lora_alpha": 1e400, "fan_in_fan_out": true}`, weights(map[string][]int64{qA: {0, 8}, qB: {8, 0}}), false)
	f.Add(`{"lora_alpha": 4, "alora_invocation_tokens": [4294967296]}`, weights(map[string][]int64{qA: {2, 3, 4}, qB: {3, 4, 3}}), false)
	f.Add(config, weights(map[string][]int64{".lora_A.weight": {1, 1}, ".lora_B.weight": {1, 1}}), false)
	f.Add(config, []byte("\x80\x02}q\x00."), true)
	f.Add(config, []byte("PK\x03\x04"), true)
	f.Fuzz(func(t *testing.T, config string, data []byte, pickled bool) {
		name := lora.Weights
		if pickled {
			name = lora.Pickled
		}
		a, err := lora.Open(fstest.MapFS{lora.ConfigFile: {Data: []byte(config)}, name: {Data: data}})
		if err != nil {
			return
		}
		for _, v := range a.Tensors {
			if v.Name == "" && len(v.Shape) == 0 && v.Reader == nil {
				t.Errorf("an empty tensor among %d", len(a.Tensors))
			}
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
}
