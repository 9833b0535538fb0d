package convert_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"quern/convert"
)

// hostile are small checkpoints that ask for much: files to put over those of a good one, and what the error says. Numbers that a
// configuration may freely make up come first, then headers.
var hostile = map[string]struct {
	config map[string]any
	files  map[string][]byte
	want   string
}{
	"million layers":     {config: map[string]any{"num_hidden_layers": 1_000_000}, want: "16384"},
	"layers beyond 2^63": {config: map[string]any{"num_hidden_layers": json.Number("99999999999999999999")}, want: "99999999999999999999"},
	"layers by layer":    {config: map[string]any{"num_key_value_heads": repeated("1", 1_000_000)}, want: "num_key_value_heads"},
	"wide heads":         {config: map[string]any{"head_dim": 1 << 40}, want: "head_dim"},
	"heads":              {config: map[string]any{"num_attention_heads": int64(1) << 62}, want: "proj"},
	"experts":            {config: map[string]any{"architectures": []string{"MixtralForCausalLM"}, "model_type": "mixtral", "num_local_experts": int64(1) << 40}, want: "1099511627776"},
	"deep configuration": {files: map[string][]byte{"config.json": []byte(strings.Repeat(`{"a":`, 100_000))}, want: "config.json"},
	"shape beyond 2^63": {files: map[string][]byte{weights: headed(map[string]any{"a": described("F32", []int64{1 << 31, 1 << 31, 1 << 31}, 0, 0)}, 0)},
		want: "not a whole number of bytes"},
	"shape that wraps to its size": {files: map[string][]byte{weights: headed(map[string]any{"a": described("U8", []int64{1 << 32, 1<<32 + 1}, 0, 1<<32)}, 16)},
		want: `tensor "a"`},
	"header beyond the file": {files: map[string][]byte{weights: binary.LittleEndian.AppendUint64(nil, 99_000_000)}, want: "99000000"},
	"tensor in two shards": {files: map[string][]byte{weights: nil,
		"model-00001-of-00002.safetensors": headed(map[string]any{"a": described("U8", []int64{1}, 0, 1)}, 1),
		"model-00002-of-00002.safetensors": headed(map[string]any{"a": described("U8", []int64{1}, 0, 1)}, 1)}, want: "it also stands in"},
	"layer in a name": {files: map[string][]byte{weights: headed(map[string]any{"model.layers.9000000000000000000.mlp.up_proj.weight": described("U8", []int64{1}, 0, 1)}, 1)},
		want: "9000000000000000000"},
}

const weights = "model.safetensors"

// hostileMemory bounds what a refusal may allocate in all, beyond what reading the files takes (a list of numbers some fifty times its text): a plan of the largest published
// configurations takes less.
const hostileMemory = 24 << 20 // bytes

// TestHostile wants each to be refused by a message that names the trouble, in memory that does not grow with the number claimed.
func TestHostile(t *testing.T) {
	most := uint64(0)
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			s := newSmall()
			maps.Copy(s.config, c.config)
			src := s.checkpoint(t)
			size := uint64(0)
			for file, data := range c.files {
				if src[file] = (&fstest.MapFile{Data: data}); data == nil {
					delete(src, file)
				}
			}
			for _, f := range src {
				size += uint64(len(f.Data))
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			m, err := convert.Open(t.Context(), src, convert.Options{Dir: "hostile"})
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Fatal("no error", m.Close())
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q does not say %q", err, c.want)
			}
			used := after.TotalAlloc - before.TotalAlloc
			most = max(most, used)
			if used > hostileMemory+64*size {
				t.Errorf("%d bytes allocated for files of %d", used, size)
			}
		})
	}
	t.Logf("count: %d hostile checkpoints refused, the dearest in %.1f MB", len(hostile), float64(most)/1e6)
}

// described is a tensor of a header.
func described(dtype string, shape []int64, lo, hi int64) map[string]any {
	return map[string]any{"dtype": dtype, "shape": shape, "data_offsets": []int64{lo, hi}}
}

// headed is a safetensors file of a header and n bytes of data.
func headed(tensors map[string]any, n int) []byte {
	text, err := json.Marshal(tensors)
	if err != nil {
		panic(err) // literals of this file
	}
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), make([]byte, n)...)
}

// repeated is a list of n times the same.
func repeated(item string, n int) json.RawMessage {
	return json.RawMessage(fmt.Sprintf("[%s%s]", strings.Repeat(item+",", n-1), item))
}
