package convert_test

import (
	"encoding/binary"
	"testing"
	"testing/fstest"

	"quern/convert"
	"quern/convert/conformance"
)

// texts are the cases whose files the fuzzers of text models bend: families whose code does more than their tables.
var texts = []string{"llama3", "mixtral", "qwen3moe", "mistral4", "gpt2", "eagle3-llama", "qwen3-reranker", "ministral3",
	"gemma4-26b-a4b", "gemma3n-text", "apertus", "phi35-mini-longrope", "jina-v3", "nomic-bert-moe", "mended-t5-deep-decoder", "falcon-40b",
	"mended-stablelm-2-12b", "refact", "mended-baichuan2", "wavtokenizer", "bert-sequence", "llama4-text"}

var projectors = []string{"mmproj-deepseek-ocr2", "mmproj-dots3", "mmproj-exaone4_5", "mmproj-gemma3-factor", "mmproj-gemma4-unified", "mmproj-granite4-vision",
	"mmproj-hunyuan-vl", "mmproj-internvl2_5-lists", "mmproj-janus-ratio", "mmproj-kimi-k2.5", "mmproj-paddleocr", "mmproj-qwen2.5-omni", "mmproj-qwen3-vl"}

// FuzzConfig puts any bytes in place of the configuration of recorded cases: an error or a plan, in bounded memory, never a panic.
func FuzzConfig(f *testing.F) {
	f.Add(byte(0), []byte(`{"architectures":["LlamaForCausalLM"],"num_hidden_layers":1e9,"hidden_size":-1,"num_attention_heads":[1]}`))
	f.Add(byte(1), []byte(`{"architectures":["MixtralForCausalLM"],"num_local_experts":9223372036854775807,"num_hidden_layers":2}`))
	fuzzFile(f, texts, "config.json", convert.Options{Dir: "fuzz"})
}

// FuzzProjector does the same with the vision and audio parts, FuzzProcessor with the description of their preprocessing.
func FuzzProjector(f *testing.F) {
	fuzzFile(f, projectors, "config.json", convert.Options{Dir: "fuzz", Projector: true})
}

func FuzzProcessor(f *testing.F) {
	fuzzFile(f, projectors, "preprocessor_config.json", convert.Options{Dir: "fuzz", Projector: true})
}

// FuzzHeader puts any header in place of a checkpoint's own, over as many bytes of data as the seed has: names and shapes that rules
// and checks see are any that the format allows.
func FuzzHeader(f *testing.F) {
	const file = "model.safetensors"
	sources := checkpoints(f, texts)
	for i, src := range sources {
		if shard := src[file]; shard != nil {
			f.Add(byte(i), shard.Data[8:8+binary.LittleEndian.Uint64(shard.Data)])
		}
	}
	f.Add(byte(0), []byte(`{"model.embed_tokens.weight":{"dtype":"BF16","shape":[9223372036854775807,0],"data_offsets":[0,0]}}`))
	f.Add(byte(0), []byte(`{"model.layers.9223372036854775807.mlp.up_proj.weight":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}`))
	f.Fuzz(func(t *testing.T, which byte, header []byte) {
		src := sources[int(which)%len(sources)]
		data := make([]byte, 8, 8+len(header))
		binary.LittleEndian.PutUint64(data, uint64(len(header)))
		data = append(data, header...)
		if shard := src[file]; shard != nil {
			data = append(data, shard.Data[8+binary.LittleEndian.Uint64(shard.Data):]...)
		}
		opens(t, src, file, data, named)
	})
}

// FuzzTokenizerFiles puts any bytes in place of one of the files from which a vocabulary is made.
func FuzzTokenizerFiles(f *testing.F) {
	sources := checkpoints(f, texts)
	names := []string{"tokenizer.json", "tokenizer_config.json", "tokenizer.model", "special_tokens_map.json", "added_tokens.json", "generation_config.json", "README.md"}
	for i, src := range sources {
		for j, name := range names {
			if file := src[name]; file != nil && len(file.Data) < 1<<16 {
				f.Add(byte(i), byte(j), file.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, which, name byte, data []byte) {
		opens(t, sources[int(which)%len(sources)], names[int(name)%len(names)], data, named)
	})
}

// named states a pre-tokenizer: most of the time would go into finding one.
var named = convert.Options{Dir: "fuzz", Pre: "gpt-2"}

// fuzzFile puts any bytes in place of one file of recorded cases.
func fuzzFile(f *testing.F, names []string, file string, o convert.Options) {
	sources := checkpoints(f, names)
	for i, src := range sources {
		if seed := src[file]; seed != nil {
			f.Add(byte(i), seed.Data)
		}
	}
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		opens(t, sources[int(which)%len(sources)], file, data, o)
	})
}

func checkpoints(f *testing.F, names []string) []fstest.MapFS {
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
	}
	return sources
}

// opens plans the conversion of a case with one file in place of its own.
func opens(t *testing.T, source fstest.MapFS, name string, data []byte, o convert.Options) {
	src := fstest.MapFS{}
	for name, file := range source {
		src[name] = file
	}
	src[name] = &fstest.MapFile{Data: data}
	m, err := convert.Open(t.Context(), src, o)
	if err != nil {
		return
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}
