package card

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"quern/convert/config"
	"quern/convert/gguf"
)

func fromCard(t testing.TB, text string, strict bool) (map[string]any, Info, error) {
	t.Helper()
	kvs, info, err := Metadata(Input{Source: fstest.MapFS{readme: {Data: []byte(text)}}, Folder: "Tiny-1M", Strict: strict})
	out := map[string]any{}
	for _, kv := range kvs {
		out[kv.Key] = kv.Value
	}
	return out, info, err
}

// A broken card costs its broken keys, and the warning names their line in README.md.
func TestLenient(t *testing.T) {
	for _, c := range []struct{ name, card, warning, key, value string }{
		{"number for a text", "---\nlicense: mit\nversion: 1.0\nauthor: me\n---\n", "README.md:3: version: the number 1.0, a text is needed; left out", "general.author", "me"},
		{"broken value", "---\nlicense: mit\nversion: [a, b\nauthor: me\n---\n", "README.md:3: ", "general.author", "me"},
		{"two colons", "---\nlicense: mit\ndescription: a: b\nauthor: me\n---\n", "README.md:3: description: no YAML: mapping values are not allowed", "general.license", "mit"},
		{"a line that is nothing", "---\nlicense: mit\n- x\nauthor: me\n---\n", "README.md:", "general.author", "me"},
		{"unknown alias", "---\nlicense: *none\nauthor: me\n---\n", "README.md:2: license: no YAML: unknown anchor", "general.author", "me"},
		{"anchor twice", "---\nx: &a 1\ny: &a 2\nauthor: me\n---\n", "README.md:3: the front matter is no YAML: the anchor \"a\" stands twice", "general.author", "me"},
		{"a tag of another language", "---\nx: !!python/object:os.system {}\nauthor: me\n---\n", "README.md:2: x: the tag", "general.author", "me"},
		{"a date that is none", "---\nx: 2024-02-31\nauthor: me\n---\n", "README.md:2: x: \"2024-02-31\" is no date", "general.author", "me"},
		{"control character", "---\nx: a\x7fb\nauthor: me\n---\n", "README.md:2: x: no YAML: the character '\\x7f' is not allowed", "general.author", "me"},
		{"bytes that are no text", "---\nx: \xff\nauthor: me\n---\n", "README.md: not UTF-8", "general.author", "me"},
		{"booleans among texts", "---\nlanguage: [en, no]\nauthor: me\n---\n", "README.md:2: language: the boolean false (yes, no, on and off are booleans too) at place 2 of the list", "general.author", "me"},
		{"inside itself", "---\nx: &a [*a]\nauthor: me\n---\n", "README.md:2: x: an alias inside itself", "general.author", "me"},
		{"field of a base model", "---\nbase_model:\n- name: N\n  version: 2\nauthor: me\n---\n", "README.md:2: base_model: version: the number 2, a text is needed", "general.base_model.0.name", "N"},
		{"front matter not first", "\ufeff---\nauthor: me\n---\n", "README.md: the front matter does not start on the first line", "general.name", "Tiny 1M"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, info, err := fromCard(t, c.card, false)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(info.Warnings, func(w string) bool { return strings.HasPrefix(w, c.warning) }) {
				t.Errorf("warnings %q, want one with %q", info.Warnings, c.warning)
			}
			if got[c.key] != c.value {
				t.Errorf("%s is %v, want %s", c.key, got[c.key], c.value)
			}
		})
	}
}

// Of a very long card only the keys that matter are read, and a key that is too long itself is left out.
func TestLongCard(t *testing.T) {
	index := "model-index:\n" + strings.Repeat("- name: x\n  results: [1, 2]\n", 100_000)
	got, info, err := fromCard(t, "---\n"+index+"license: mit\ntags:\n- a\n---\n", false)
	if err != nil || len(info.Warnings) > 0 || got["general.license"] != "mit" || fmt.Sprint(got["general.tags"]) != "[a]" {
		t.Errorf("%v, %v, %v", got, info.Warnings, err)
	}
	got, info, err = fromCard(t, "---\nlicense: mit\ntags:\n"+strings.Repeat("- abcdefgh\n", 200_000)+"---\n", false)
	if err != nil || got["general.license"] != "mit" || len(info.Warnings) != 1 || !strings.HasPrefix(info.Warnings[0], "README.md:3: tags: 2200006 bytes") {
		t.Errorf("%v, %v, %v", got, info.Warnings, err)
	}
}

// A few lines that name one another many times cost a bounded number of steps.
func TestAliases(t *testing.T) {
	var b strings.Builder
	b.WriteString("---\nauthor: me\na0: &a0 [x, x]\n")
	for i := range 40 {
		fmt.Fprintf(&b, "a%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
	}
	b.WriteString("m0: &m0 {}\n")
	for i := range 40 {
		fmt.Fprintf(&b, "m%d: &m%d {<<: [*m%d, *m%d]}\n", i+1, i+1, i, i)
	}
	b.WriteString("---\n")
	got, info, err := fromCard(t, b.String(), false)
	if err != nil || got["general.author"] != "me" || len(info.Warnings) == 0 {
		t.Errorf("%v, %d warnings, %v", got, len(info.Warnings), err)
	}
}

// Scalars are YAML 1.1, as PyYAML resolves them.
func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"yes": "true", "Off": "false", "y": "y", "NO": "false", "nO": "nO", "~": "<nil>", "": "<nil>", "Null": "<nil>", "nULL": "nULL",
		"0777": "511", "0o17": "0o17", "08": "08", "0x1F": "31", "0b101": "5", "1_000": "1000", "+12": "12", "-0": "0", "0_": "0",
		"12:30": "750", "1:2:3": "3723", "-1:30": "-90", "1:60": "1:60", "190:20:30.15": "685230.15", "1e3": "1e3", "1.0e+3": "1000", "1.e+5": "100000",
		".5": "0.5", "5.": "5", "+.5": "+.5", ".inf": "+Inf", "-.INF": "-Inf", ".NaN": "NaN", "1,000": "1,000", "1.2.3": "1.2.3",
		"9223372036854775808": "9223372036854775808", "2024-05-01": "date", "2024-5-1": "2024-5-1", "2001-12-14 21:59:43.10 -5": "date",
		"2024-13-01": "fails", "<<": "fails", "=": "fails", "0b_": "fails",
	} {
		v, err := plain(in)
		got := fmt.Sprint(v)
		if _, ok := v.(other); ok {
			got = "date"
		}
		if err != nil {
			got = "fails"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestSplitLines(t *testing.T) {
	got := splitLines("a\r\nb\rc\vd\fe\x1cf\x1dg\x1eh\u0085i\u2028j\u2029\nk\n")
	want := []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "", "k"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Python's title, letter by letter.
func TestTitle(t *testing.T) {
	for in, want := range map[string]string{
		"c4ai-command": "C4Ai Command", "straße": "Straße", "ßx": "Ssx", "ﬁne": "Fine", "it's": "It'S", "v1.5-base": "v1.5 Base", "7b-it": "7b It",
		"LLaMA-mix": "LLaMA Mix", "ǆem": "ǅem", "  a\u00a0b  ": "A B", "模型": "模型", "x1y": "X1Y",
	} {
		if got := title(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// With a repo id its parts are the names, whatever folder and `_name_or_path` say.
func TestRepo(t *testing.T) {
	kvs, info, err := Metadata(Input{Repo: "acme/Tiny-Llama-7B-Chat-v2", Folder: "0123456789abcdef", Params: Params{Total: 7e9, Shared: 7e9},
		Config: &config.Config{Raw: config.Object{"_name_or_path": "meta-llama/Llama-2-7b-hf"}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []gguf.KV{{Key: "general.name", Value: "Tiny Llama 7B Chat v2"}, {Key: "general.version", Value: "v2"}, {Key: "general.organization", Value: "Acme"},
		{Key: "general.finetune", Value: "Chat"}, {Key: "general.basename", Value: "Tiny-Llama"}, {Key: "general.size_label", Value: "7B"}}
	if fmt.Sprint(kvs) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", kvs, want)
	}
	if f := info.Parts.FileName("Q4_K_M", false); f != "Tiny-Llama-7B-Chat-v2-Q4_K_M.gguf" {
		t.Error(f)
	}
	if f := info.Parts.VocabFileName(); f != "Tiny-Llama-Chat-v2-vocab.gguf" {
		t.Error(f)
	}
}

// A card cannot choose the folder of the output.
func TestFileNameStays(t *testing.T) {
	p := Parts{Basename: "../a", SizeLabel: "7/B", Finetune: "../../etc", Version: "C:\\x\x00"}
	if f := p.FileName("f16", false); strings.ContainsAny(f, "/\\\x00") {
		t.Error(f)
	}
	if f := (Parts{}).FileName("f16", true); f != "ggml-model-F16-LoRA.gguf" {
		t.Error(f)
	}
}

func FuzzCard(f *testing.F) {
	for _, c := range answers(f, "cards.json") {
		s, _ := c.String("card")
		f.Add(s, "{\"top_k\": 1}", "org/Name-7B-v1")
	}
	f.Add("---\na: &a {<<: [*a, *a]}\n---\n", "[]", "-")
	f.Add("---\n? [a]\n: b\nx: !!int '0x'\n", "{\"temperature\": 1e999}", "1b-1b1-")
	f.Add("---\ntags: !!omap [a: 1]\nlicense: [a, {b: c}]\n", "NaN", "")
	f.Fuzz(func(t *testing.T, card, gen, id string) {
		src := fstest.MapFS{readme: {Data: []byte(card)}, generation: {Data: []byte(gen)}}
		for _, in := range []Input{{Source: src, Folder: id, Params: Params{Total: 7e9}}, {Source: src, Repo: id, Strict: true, Params: Params{Total: -7e9}}} {
			kvs, info, err := Metadata(in)
			if err != nil && !in.Strict {
				t.Errorf("a card stopped the conversion: %v", err)
			}
			if err != nil {
				continue
			}
			for _, kv := range kvs {
				switch kv.Value.(type) {
				case string, int32, uint32, float32, []string, []int32, []float32, []bool:
				default:
					t.Errorf("%s: %T", kv.Key, kv.Value)
				}
			}
			if name := info.Parts.FileName("f16", false); strings.ContainsAny(name, "/\\\x00") {
				t.Errorf("file %q", name)
			}
		}
	})
}
