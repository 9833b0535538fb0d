package main

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quern/convert/safetensors"
	"quern/stages/source/pocket"

	"github.com/rogpeppe/go-internal/testscript"
)

// lora DIR BASE writes a small adapter for the pocket model's query projections, whose configuration names BASE.
func writeAdapter(ts *testscript.TestScript, _ bool, args []string) {
	src, err := pocket.FS()
	ts.Check(err)
	ckpt, err := safetensors.Open(src)
	ts.Check(err)
	defer ckpt.Close()
	head, data, n := map[string]any{}, []byte{}, 0
	put := func(name string, shape ...int64) {
		at := len(data)
		for range shape[0] * shape[1] {
			n++
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(n*7919%1000)/1e5-0.005))
		}
		head[name] = map[string]any{"dtype": "F32", "shape": shape, "data_offsets": []int{at, len(data)}}
	}
	for _, t := range ckpt.Tensors() {
		if stem, ok := strings.CutSuffix(t.Name, ".q_proj.weight"); ok {
			put("base_model.model."+stem+".q_proj.lora_A.weight", 4, t.Shape[1])
			put("base_model.model."+stem+".q_proj.lora_B.weight", t.Shape[0], 4)
		}
	}
	text, err := json.Marshal(head)
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o777))
	ts.Check(os.WriteFile(filepath.Join(dir, "adapter_model.safetensors"), slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text, data), 0o644))
	config, err := json.Marshal(map[string]any{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": args[1]})
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(dir, "adapter_config.json"), config, 0o644))
}

// The base's receipt keeps the line that makes the base alone.
func TestWithoutAdapter(t *testing.T) {
	got := withoutAdapter([]string{"prepare", "--lora", "a", "-q", "BF16", "--base=pocket", "-o", "out"}, "pocket")
	if want := []string{"prepare", "-q", "BF16", "-o", "out", "pocket"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
