package smoke_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quern/convert/conformance"
	"quern/convert/gguf"
	"quern/convert/tokenizer"
	"quern/stages/pockettest"
	"quern/stages/smoke"
)

// model is a file in memory: what its header says, and the bytes of each tensor.
type model struct {
	keys []gguf.KV
	outs []gguf.Output
	data map[string][]byte
}

func read(t *testing.T, path string) *model {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Read(path, bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	m := &model{f.Metadata, f.Outputs, map[string][]byte{}}
	for _, o := range f.Outputs {
		m.data[o.Name] = b[f.DataOffset+o.Offset:][:o.Size]
	}
	return m
}

// clone leaves the original alone: spoilers write into tensors.
func (m *model) clone() *model {
	c := &model{slices.Clone(m.keys), slices.Clone(m.outs), map[string][]byte{}}
	for name, b := range m.data {
		c.data[name] = bytes.Clone(b)
	}
	return c
}

// bytes is the file.
func (m *model) bytes(t *testing.T) []byte {
	t.Helper()
	p, err := gguf.Layout(m.keys, m.outs, 32)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.WriteHeader(&b); err != nil {
		t.Fatal(err)
	}
	file := append(b.Bytes(), make([]byte, p.FileSize-int64(b.Len()))...)
	for _, o := range p.Outputs {
		copy(file[p.DataOffset+o.Offset:], m.data[o.Name])
	}
	return file
}

// set gives a key a value, or takes the key away where it is nil.
func (m *model) set(key string, value any) {
	m.keys = slices.DeleteFunc(slices.Clone(m.keys), func(kv gguf.KV) bool { return kv.Key == key })
	if value != nil {
		m.keys = append(m.keys, gguf.KV{Key: key, Value: value})
	}
}

func (m *model) value(t *testing.T, key string) any {
	t.Helper()
	i := slices.IndexFunc(m.keys, func(kv gguf.KV) bool { return kv.Key == key })
	if i < 0 {
		t.Fatalf("no key %s", key)
	}
	return m.keys[i].Value
}

// add puts a tensor of float32 at the end.
func (m *model) add(name string, values []float32) {
	b, _ := binary.Append(nil, binary.LittleEndian, values)
	m.outs = append(m.outs, gguf.Output{Name: name, Type: gguf.F32, Shape: []int64{int64(len(values))}, Size: int64(len(b))})
	m.data[name] = b
}

func (m *model) drop(name string) {
	m.outs = slices.DeleteFunc(m.outs, func(o gguf.Output) bool { return o.Name == name })
}

// swap exchanges the data of two tensors.
func (m *model) swap(a, b string) { m.data[a], m.data[b] = m.data[b], m.data[a] }

// spoiler changes a model as a wrong conversion would.
type spoiler func(t *testing.T, m *model)

func key(name string, value any) spoiler { return func(_ *testing.T, m *model) { m.set(name, value) } }

// halves swaps the two halves of every head's rows, as a query or key that was not permuted for llama.cpp's rotation.
func halves(_ *testing.T, m *model) {
	const width, head = 256, 32
	row := int(gguf.Q8_0.RowBytes(width))
	for layer := range 5 {
		for _, name := range []string{"attn_q", "attn_k"} {
			data := m.data[fmt.Sprintf("blk.%d.%s.weight", layer, name)]
			for h := 0; h < len(data)/row/head; h++ {
				block := data[h*head*row:][:head*row]
				old := bytes.Clone(block)
				for i := range head { // rows 0,1,2,... become 0,2,4,...,1,3,5,...
					copy(block[i*row:], old[(i%(head/2)*2+i/(head/2))*row:][:row])
				}
			}
		}
	}
}

// layers exchanges all tensors of two layers.
func layers(a, b int) spoiler {
	return func(_ *testing.T, m *model) {
		for _, o := range m.outs {
			if role, ok := strings.CutPrefix(o.Name, fmt.Sprintf("blk.%d.", a)); ok {
				m.swap(o.Name, fmt.Sprintf("blk.%d.%s", b, role))
			}
		}
	}
}

// pieces changes entries of the list of tokens, or of their kinds.
func pieces[T any](name string, change func([]T) []T) spoiler {
	return func(t *testing.T, m *model) {
		list, ok := m.value(t, name).([]T)
		if !ok {
			t.Fatalf("%s holds %T", name, m.value(t, name))
		}
		m.set(name, change(slices.Clone(list)))
	}
}

func all(ss ...spoiler) spoiler {
	return func(t *testing.T, m *model) {
		for _, s := range ss {
			s(t, m)
		}
	}
}

// exchange swaps two words of the vocabulary.
func exchange(list []string) []string {
	a, b := slices.Index(list, "\u2581the"), slices.Index(list, "\u2581and")
	list[a], list[b] = list[b], list[a]
	return list
}

// factored is the model with another rope base and the factors that undo the difference, as Llama 3.1 has them.
func factored(_ *testing.T, m *model) {
	const base, other, pairs = 10000.0, 500000.0, 16
	factors := make([]float32, pairs)
	for i := range factors {
		factors[i] = float32(math.Pow(base/other, 2*float64(i)/(2*pairs)))
	}
	m.set("llama.rope.freq_base", float32(other))
	m.add("rope_freqs.weight", factors)
}

const (
	ordinary = 1 // a token that is text (llama.h, enum llama_token_type)
	chatML   = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)

// spoiled are the ways in which a file goes wrong, and the check that has to see each.
var spoiled = []struct {
	name   string
	spoil  spoiler
	caught string
}{
	{"wrong head count", key("llama.attention.head_count", uint32(7)), "load"},
	{"wrong count of key heads", key("llama.attention.head_count_kv", uint32(8)), "load"},
	{"wrong width", key("llama.embedding_length", uint32(288)), "load"},
	{"wrong vocabulary size", all(pieces("tokenizer.ggml.tokens", shorter[string]), pieces("tokenizer.ggml.scores", shorter[float32]), pieces("tokenizer.ggml.token_type", shorter[int32])), "load"},
	{"missing tensor", func(_ *testing.T, m *model) { m.drop("blk.3.ffn_up.weight") }, "load"},
	{"missing layer", key("llama.block_count", uint32(4)), "load"},
	{"NaN in a norm", func(_ *testing.T, m *model) {
		binary.LittleEndian.PutUint32(m.data["blk.2.ffn_norm.weight"], math.Float32bits(float32(math.NaN())))
	}, "load"},
	{"NaN scale of a block", func(_ *testing.T, m *model) { binary.LittleEndian.PutUint16(m.data["blk.0.ffn_down.weight"], 0x7e00) }, "load"},
	{"infinite scale of a block", func(_ *testing.T, m *model) { binary.LittleEndian.PutUint16(m.data["blk.4.attn_v.weight"], 0x7c00) }, "load"},
	{"zeros for an embedding", func(_ *testing.T, m *model) { clear(m.data["token_embd.weight"]) }, "logits"},
	{"two words of the vocabulary swapped", pieces("tokenizer.ggml.tokens", exchange), "tokens"},
	{"bytes of the vocabulary as text", pieces("tokenizer.ggml.token_type", func(kinds []int32) []int32 {
		for i, k := range kinds {
			if k == 6 {
				kinds[i] = ordinary
			}
		}
		return kinds
	}), "tokens"},
	{"a blank before every text is missing", key("tokenizer.ggml.add_space_prefix", false), "tokens"},
	{"a word for the end token", key("tokenizer.ggml.eos_token_id", uint32(500)), "end"},
	{"end token as ordinary text", pieces("tokenizer.ggml.token_type", func(kinds []int32) []int32 { kinds[2] = ordinary; return kinds }), "end"},
	{"chat template of another model", key("tokenizer.chat_template", chatML), "end"},
	{"query and key not permuted", halves, "perplexity"},
	{"wrong rope base: 2", key("llama.rope.freq_base", float32(2)), "perplexity"},
	{"wrong rope base: 500000", key("llama.rope.freq_base", float32(500000)), "source"},
	{"wrong rope scaling", all(key("llama.rope.scaling.type", "linear"), key("llama.rope.scaling.factor", float32(8))), "source"},
	{"missing rope factors", all(factored, func(_ *testing.T, m *model) { m.drop("rope_freqs.weight") }), "source"},
	{"norm epsilon of 100", key("llama.attention.layer_norm_rms_epsilon", float32(100)), "perplexity"},
	{"norm epsilon of 1", key("llama.attention.layer_norm_rms_epsilon", float32(1)), "source"},
	{"two layers swapped", layers(1, 3), "source"},
	{"first and last layer swapped", layers(0, 4), "perplexity"},
	{"norms of a layer swapped", func(_ *testing.T, m *model) {
		for i := range 5 {
			m.swap(fmt.Sprintf("blk.%d.attn_norm.weight", i), fmt.Sprintf("blk.%d.ffn_norm.weight", i))
		}
	}, "source"},
	{"gate and up swapped", func(_ *testing.T, m *model) {
		for i := range 5 {
			m.swap(fmt.Sprintf("blk.%d.ffn_gate.weight", i), fmt.Sprintf("blk.%d.ffn_up.weight", i))
		}
	}, "source"},
	{"a layer of zeros", func(_ *testing.T, m *model) {
		for name, b := range m.data {
			if strings.HasPrefix(name, "blk.2.") {
				clear(b)
			}
		}
	}, "source"},
}

// shorter loses the last eight entries.
func shorter[T any](list []T) []T { return list[:len(list)-8] }

// row is a line of the table that make test prints.
func row(t *testing.T, what string, r *smoke.Report, caught string) {
	t.Helper()
	var f *smoke.Failure
	if err := r.Err(what); !errors.As(err, &f) {
		t.Errorf("%s: not caught: %+v", what, r.Checks)
		return
	}
	var names []string
	for _, k := range f.Checks {
		names = append(names, k.Name)
	}
	first := f.Checks[max(0, slices.Index(names, caught))]
	t.Logf("count: spoiled: %-38s caught by %-28s %s", what, strings.Join(names, ", "), short(first.Value))
	if !slices.Contains(names, caught) {
		t.Errorf("%s: caught by %v, want %s", what, names, caught)
	}
	if f.Hint() == "" {
		t.Errorf("%s: no hint", what)
	}
	if !bytes.Contains(page(t), fmt.Appendf(nil, "| %s | %s |", what, caught)) {
		t.Errorf("docs/smoke.md has no row for %s, which %s catches", what, caught)
	}
}

func page(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile("../../docs/smoke.md")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func short(s string) string {
	if r := []rune(s); len(r) > 90 {
		return string(r[:90]) + "..."
	}
	return s
}

// trySpoiled writes a file and tries it against its source.
func trySpoiled(t *testing.T, b []byte, source string) *smoke.Report {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spoiled.gguf")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	o := options(path)
	o.Encoded, o.Source, o.MaxDivergence = encoded(t), source, 0.1
	return try(t, o)
}

// A spoiled file is caught by the check that knows its failure; the same file unspoiled passes.
func TestSpoiledFiles(t *testing.T) {
	paths := pockettest.Files(t, "BF16", "Q8_0")
	sound := read(t, paths[1])
	whole := sound.bytes(t)
	for name, spoil := range map[string]spoiler{"as it is": func(*testing.T, *model) {}, "with rope factors": factored} {
		m := sound.clone()
		spoil(t, m)
		if err := trySpoiled(t, m.bytes(t), paths[0]).Err(name); err != nil {
			t.Errorf("the sound file %s: %v", name, err)
		}
	}
	row(t, "truncated data", trySpoiled(t, whole[:len(whole)-4096], paths[0]), "load")
	row(t, "truncated header", trySpoiled(t, whole[:1000], paths[0]), "load")
	for _, c := range spoiled {
		m := sound.clone()
		c.spoil(t, m)
		row(t, c.name, trySpoiled(t, m.bytes(t), paths[0]), c.caught)
	}
	if !t.Failed() {
		t.Logf("count: %d of %d spoiled files are caught by the check that knows their failure", len(spoiled)+2, len(spoiled)+2)
	}
}

// What only a byte-pair vocabulary can have wrong, on a model of random weights: its checkpoint's own tokenizer is there.
func TestSpoiledVocabulary(t *testing.T) {
	tree, err := conformance.OpenBundle("../../convert/testdata/cases.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	c, err := conformance.OpenCase(tree, "convert/llama3")
	if err != nil {
		t.Fatal(err)
	}
	src, err := c.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	tk, err := tokenizer.LoadFolder(src)
	if err != nil {
		t.Fatal(err)
	}
	var texts []smoke.Encoded
	for _, text := range []string{"Hello world", "1234567 and 3.14159", "I'LL SAY it's", "they don't.\n"} {
		ids, err := tk.Encode(text, false)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, smoke.Encoded{Text: text, IDs: ids})
	}
	sound := read(t, random(t, c, "q8_0", t.TempDir()))
	for _, k := range []struct {
		name   string
		spoil  spoiler
		caught string
	}{
		{"", func(*testing.T, *model) {}, ""},
		{"wrong pre-tokenizer", key("tokenizer.ggml.pre", "gpt-2"), "tokens"},
		{"merges in another order", pieces("tokenizer.ggml.merges", func(m []string) []string { slices.Reverse(m); return m }), "tokens"},
		{"missing end token", key("tokenizer.ggml.eos_token_id", nil), "end"},
		{"marker of a turn as ordinary text", func(t *testing.T, m *model) {
			names, ok := m.value(t, "tokenizer.ggml.tokens").([]string)
			at := slices.Index(names, "<|start_header_id|>")
			if !ok || at < 0 {
				t.Fatal("the vocabulary has no such marker")
			}
			pieces("tokenizer.ggml.token_type", func(kinds []int32) []int32 { kinds[at] = ordinary; return kinds })(t, m)
		}, "tokens"},
	} {
		m := sound.clone()
		k.spoil(t, m)
		path := filepath.Join(t.TempDir(), "spoiled.gguf")
		if err := os.WriteFile(path, m.bytes(t), 0o644); err != nil {
			t.Fatal(err)
		}
		o := options(path)
		o.Encoded, o.Checks = texts, []string{smoke.Untrained}
		o.Encode = func(text string) ([]int32, error) { return tk.Encode(text, false) }
		r := try(t, o)
		if k.name != "" {
			row(t, k.name, r, k.caught)
		} else if err := r.Err("sound"); err != nil {
			t.Error(err)
		}
	}
}
