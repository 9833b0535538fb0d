package convert_test

import (
	"testing"
	"testing/fstest"

	"quern/convert"
	"quern/convert/conformance"
)

// FuzzConfig puts any bytes in place of the configuration of recorded cases: an error or a plan, in bounded memory, never a panic.
func FuzzConfig(f *testing.F) {
	names := []string{"llama3", "mixtral", "qwen3moe", "mistral4", "gpt2", "eagle3-llama", "qwen3-reranker", "ministral3",
		"gemma4-26b-a4b", "gemma3n-text", "apertus", "phi35-mini-longrope", "jina-v3", "nomic-bert-moe", "mended-t5-deep-decoder", "falcon-40b",
		"mended-stablelm-2-12b", "refact", "mended-baichuan2", "wavtokenizer", "bert-sequence", "llama4-text"}
	f.Add(byte(0), []byte(`{"architectures":["LlamaForCausalLM"],"num_hidden_layers":1e9,"hidden_size":-1,"num_attention_heads":[1]}`))
	f.Add(byte(1), []byte(`{"architectures":["MixtralForCausalLM"],"num_local_experts":9223372036854775807,"num_hidden_layers":2}`))
	fuzzFile(f, names, "config.json", convert.Options{Dir: "fuzz"})
}

// FuzzProjector does the same with the vision and audio parts, FuzzProcessor with the description of their preprocessing.
func FuzzProjector(f *testing.F) {
	fuzzFile(f, projectors, "config.json", convert.Options{Dir: "fuzz", Projector: true})
}

func FuzzProcessor(f *testing.F) {
	fuzzFile(f, projectors, "preprocessor_config.json", convert.Options{Dir: "fuzz", Projector: true})
}

var projectors = []string{"mmproj-deepseek-ocr2", "mmproj-dots3", "mmproj-exaone4_5", "mmproj-gemma3-factor", "mmproj-gemma4-unified", "mmproj-granite4-vision",
	"mmproj-hunyuan-vl", "mmproj-internvl2_5-lists", "mmproj-janus-ratio", "mmproj-kimi-k2.5", "mmproj-paddleocr", "mmproj-qwen2.5-omni", "mmproj-qwen3-vl"}

// fuzzFile puts any bytes in place of one file of recorded cases.
func fuzzFile(f *testing.F, names []string, file string, o convert.Options) {
	tree, err := corpus()
	if err != nil {
		f.Fatal(err)
	}
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
		if seed := sources[len(sources)-1][file]; seed != nil {
			f.Add(byte(len(sources)-1), seed.Data)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		src := fstest.MapFS{}
		for name, file := range sources[int(which)%len(sources)] {
			src[name] = file
		}
		src[file] = &fstest.MapFile{Data: data}
		m, err := convert.Open(t.Context(), src, o)
		if err != nil {
			return
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
