package policy

import (
	"slices"
	"strings"

	"quern/convert/gguf"
)

// quantVersion is the version of the block formats (ggml.h, GGML_QNT_VERSION).
const quantVersion = uint32(2)

// keys is metadata in the making. As in gguf.cpp, setting a key moves it to the end.
type keys []gguf.KV

func (k *keys) set(key string, value any) {
	k.remove(key)
	*k = append(*k, gguf.KV{Key: key, Value: value})
}

func (k *keys) remove(key string) {
	*k = slices.DeleteFunc(*k, func(kv gguf.KV) bool { return kv.Key == key })
}

// metadata is the output's: the source's in its order, then what llama-quantize sets, in the order of its calls.
func metadata(src *gguf.Plan, arch string, file FileType, blocks int, o Options) (keys, error) {
	var k keys
	for _, kv := range src.Metadata {
		v, err := cString(kv)
		if err != nil {
			return nil, err
		}
		k.set(cutNUL(kv.Key), v)
	}
	k.set("general.quantization_version", quantVersion)
	k.set("general.file_type", uint32(file))
	for _, key := range []string{"split.no", "split.count", "split.tensors.count"} {
		k.remove(key)
	}
	// overrides come last, so they may say another file type than the file has
	for _, over := range o.Overrides {
		k.set(over.Key, over.value())
	}
	if m := o.Imatrix; m != nil {
		k.imatrix(m)
	}
	if len(o.Prune) > 0 {
		k.set(arch+".block_count", uint32(blocks))
	}
	return k, nil
}

// imatrix records where importance came from. Source: tools/quantize/quantize.cpp.
func (k *keys) imatrix(m *Imatrix) {
	k.set("quantize.imatrix.file", atMost(m.File, maxOverride))
	if m.Dataset != "" {
		k.set("quantize.imatrix.dataset", atMost(m.Dataset, maxOverride))
	}
	k.set("quantize.imatrix.entries_count", uint32(len(m.Entries)))
	if m.Chunks > 0 {
		k.set("quantize.imatrix.chunks_count", uint32(m.Chunks))
	}
}

func atMost(s string, n int) string {
	s = cutNUL(s)
	return s[:min(len(s), n)]
}

// cString is a value as it leaves the reference, which passes strings on as C strings and stops at nested arrays.
func cString(kv gguf.KV) (any, error) {
	switch v := kv.Value.(type) {
	case string:
		return cutNUL(v), nil
	case []string:
		if !slices.ContainsFunc(v, func(s string) bool { return strings.IndexByte(s, 0) >= 0 }) {
			return v, nil // a vocabulary is shared by all files that are weighed
		}
		out := make([]string, len(v))
		for i, s := range v {
			out[i] = cutNUL(s)
		}
		return out, nil
	default:
		_, elem, _, ok := gguf.Kind(kv.Value)
		if !ok || elem == gguf.Array {
			return nil, badKey(kv.Key, "an array of arrays is not passed on by llama.cpp")
		}
		return kv.Value, nil
	}
}

// fileType is the number that the output claims: the file type asked for, or for a copy the source's, guessed if it says none.
func fileType(parts []*gguf.Plan, ft FileType, o Options) FileType {
	if ft != Copy {
		return ft
	}
	if n, ok := (reader{parts[0], o.Overrides}).int("general.file_type"); ok {
		return FileType(uint32(n))
	}
	// the first type to reach the highest count, in the loader's order of tensors
	source, _ := collect(parts, Options{})
	count, most, typ := map[gguf.Type]int{}, 0, gguf.F32
	for _, t := range source {
		if count[t.Type]++; count[t.Type] > most {
			most, typ = count[t.Type], t.Type
		}
	}
	return ofMost[typ] | guessed
}
