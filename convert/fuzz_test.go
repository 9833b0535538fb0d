package convert_test

import (
	"testing"
	"testing/fstest"

	"quern/convert"
	"quern/convert/conformance"
)

// FuzzConfig puts any bytes in place of the configuration of recorded cases: an error or a plan, in bounded memory, never a panic.
func FuzzConfig(f *testing.F) {
	tree, err := corpus()
	if err != nil {
		f.Fatal(err)
	}
	names := []string{"llama3", "mixtral", "qwen3moe", "mistral4", "gpt2", "eagle3-llama", "qwen3-reranker", "ministral3",
		"gemma4-26b-a4b", "gemma3n-text", "apertus", "phi35-mini-longrope", "jina-v3", "nomic-bert-moe", "mended-t5-deep-decoder", "falcon-40b",
		"mended-stablelm-2-12b", "refact", "mended-baichuan2", "wavtokenizer", "bert-sequence", "llama4-text"}
	var sources []fstest.MapFS
	for _, n := range names {
		c, err := conformance.OpenCase(tree, "convert/"+n)
		if err != nil {
			f.Fatal(err)
		}
		src, err := c.Checkpoint()
		if err != nil {
			f.Fatal(err)
		}
		sources = append(sources, src.(fstest.MapFS))
		f.Add(byte(len(sources)-1), sources[len(sources)-1]["config.json"].Data)
	}
	f.Add(byte(0), []byte(`{"architectures":["LlamaForCausalLM"],"num_hidden_layers":1e9,"hidden_size":-1,"num_attention_heads":[1]}`))
	f.Add(byte(1), []byte(`{"architectures":["MixtralForCausalLM"],"num_local_experts":9223372036854775807,"num_hidden_layers":2}`))
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		src := fstest.MapFS{}
		for name, file := range sources[int(which)%len(sources)] {
			src[name] = file
		}
		src["config.json"] = &fstest.MapFile{Data: data}
		m, err := convert.Open(t.Context(), src, convert.Options{Dir: "fuzz"})
		if err != nil {
			return
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
