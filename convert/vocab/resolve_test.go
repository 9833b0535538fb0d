package vocab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/tokenizer/corpus"
)

// expectedPres is what each small tokenizer stands for.
func expectedPres(t *testing.T, src fs.FS) map[string]string {
	t.Helper()
	data, err := fs.ReadFile(src, "tokenizers/pre.json")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// standIns are tokenizers of conversion cases whose splitter is not that of the name they stand for: what they resolve to
// by their own structure. Empty: nothing fits.
var standIns = map[string]string{
	"x-bpe-exaone4": "", "x-bpe-glm4": "llama-bpe", "x-bpe-hunyuan": "qwen2", "x-bpe-seed": "qwen2",
	"z-laguna": "glm4", "z-llama4": "glm4", "z-solar": "glm4",
}

// anySize is above the ids of all small tokenizers.
var anySize = config.Object{"vocab_size": int64(620)}

// TestResolveLive holds that every byte-level tokenizer is named by structure and proof, without its hash.
func TestResolveLive(t *testing.T) {
	prover := newLive(t)
	src, err := corpus.FS()
	if err != nil {
		t.Fatal(err)
	}
	pres := expectedPres(t, src)
	files, err := fs.Glob(src, "tokenizers/*/tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	resolved := 0
	for _, f := range files {
		name := path.Base(path.Dir(f))
		want, ok := pres[name]
		if !ok {
			continue
		}
		resolved++
		t.Run(name, func(t *testing.T) {
			folder, err := fs.Sub(src, path.Dir(f))
			if err != nil {
				t.Fatal(err)
			}
			resolve(t, folder, name, want, prover)
		})
	}
	if resolved < 90 {
		t.Errorf("%d tokenizers resolved, want 90 or more", resolved)
	}
}

func resolve(t *testing.T, folder fs.FS, name, want string, prover Prover) {
	kind := GPT2
	if preTypes[want].family == "" {
		kind = BERT
	}
	v, err := Build(folder, kind, Input{Config: anySize, Arch: "x", Prover: prover})
	if own, ok := standIns[name]; ok {
		if want = own; own == "" {
			if refused := (*UnknownPre)(nil); !errors.As(err, &refused) {
				t.Fatalf("%v, want a refusal", err)
			}
			return
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	id := v.Pre
	if id.Pre != want && (preTypes[id.Pre].class == 0 || preTypes[id.Pre].class != preTypes[want].class) {
		t.Errorf("%s, want %s or its like", id.Pre, want)
	}
	if id.How != HowStructure || !id.Proven && kind == GPT2 {
		t.Errorf("%s by %s, proven %t: want it by structure and proven", id.Pre, id.How, id.Proven)
	}
}

// recordedProver answers as llama.cpp did when the corpus was recorded, for the names of one class.
type recordedProver struct {
	answer *corpus.Answer
	pre    string
	asked  []string
}

func (r *recordedProver) Encode(file []byte, texts []string) ([][]int32, error) {
	f, err := gguf.Read("vocabulary", bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, err
	}
	pre, _ := f.String(keyPre)
	r.asked = append(r.asked, pre)
	if preTypes[pre].class != preTypes[r.pre].class {
		return nil, fmt.Errorf("not recorded under %s", pre)
	}
	out := make([][]int32, len(texts))
	for i := range texts {
		out[i] = r.answer.IDs[i]
		if other, ok := r.answer.Llama.Differs[strconv.Itoa(i)]; ok {
			out[i] = other
		}
	}
	return out, nil
}

// recordedFolder opens a small tokenizer with the recorded answers of llama.cpp.
func recordedFolder(t *testing.T, name string) (fstest.MapFS, *recordedProver) {
	t.Helper()
	src, err := corpus.FS()
	if err != nil {
		t.Fatal(err)
	}
	answer, err := corpus.Answers(name)
	if err != nil {
		t.Fatal(err)
	}
	folder := fstest.MapFS{}
	files, err := fs.Glob(src, "tokenizers/"+name+"/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		data, err := fs.ReadFile(src, f)
		if err != nil {
			t.Fatal(err)
		}
		folder[path.Base(f)] = &fstest.MapFile{Data: data}
	}
	return folder, &recordedProver{answer: answer, pre: expectedPres(t, src)[name]}
}

// TestResolve holds the same as TestResolveLive for the tokenizers that llama.cpp's answers are recorded of.
func TestResolve(t *testing.T) {
	src, err := corpus.FS()
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(src, "tokenizer/adv-*.json")
	if err != nil || len(files) < 38 {
		t.Fatalf("%d answers, %v", len(files), err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(path.Base(f), ".json")
		t.Run(name, func(t *testing.T) {
			folder, prover := recordedFolder(t, name)
			resolve(t, folder, name, prover.pre, prover)
		})
	}
}

// TestShown holds that the published structures show no more differences than their table says.
func TestShown(t *testing.T) {
	src, err := corpus.FS()
	if err != nil {
		t.Fatal(err)
	}
	pres := expectedPres(t, src)
	for name, pre := range pres {
		answer, err := corpus.Answers(name)
		if err != nil || preTypes[pre].family == "" || standIns[name] != "" {
			continue
		}
		folder, _ := recordedFolder(t, name)
		if folder["tokenizer.json"] == nil {
			continue
		}
		b := &builder{src: folder, out: &Vocab{}}
		if err := b.load(); err != nil {
			t.Fatal(err)
		}
		own, err := structureOf(b.hf.tok)
		if err != nil {
			t.Fatal(err)
		}
		allowed, count := shown(pre, own), map[string]int{}
		for key := range answer.Llama.Differs {
			i, err := strconv.Atoi(key)
			if err != nil {
				t.Fatal(err)
			}
			count[kindOf(samples()[i], own.normalizer != "")]++
		}
		for kind, n := range count {
			if n > allowed[kind] {
				t.Errorf("%s (%s): %d texts of kind %s differ, the table says %d", name, pre, n, kind, allowed[kind])
			}
		}
	}
}

// TestSamples holds that the corpus of proof is the one that the answers were recorded on.
func TestSamples(t *testing.T) {
	groups, texts, err := corpus.Texts()
	if err != nil {
		t.Fatal(err)
	}
	want := make([]sample, len(texts))
	for i := range texts {
		want[i] = sample{groups[i], texts[i]}
	}
	if d := cmp.Diff(want, samples(), cmp.AllowUnexported(sample{})); d != "" {
		t.Error(d)
	}
}

// edit changes a member of tokenizer.json.
func edit(t *testing.T, folder fstest.MapFS, change func(map[string]any)) {
	t.Helper()
	var file map[string]any
	if err := json.Unmarshal(folder["tokenizer.json"].Data, &file); err != nil {
		t.Fatal(err)
	}
	change(file)
	data, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	folder["tokenizer.json"] = &fstest.MapFile{Data: data}
}

// TestUnproven holds that without the runtime a structural match stands with a warning, and anything else is refused.
func TestUnproven(t *testing.T) {
	folder, _ := recordedFolder(t, "adv-qwen3")
	v, err := Build(folder, GPT2, Input{Config: anySize, Arch: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if v.Pre.Pre != "qwen2" || v.Pre.How != HowStructure || v.Pre.Proven || !strings.Contains(strings.Join(v.Warnings, "\n"), "unproven") {
		t.Errorf("%+v, warnings %q", v.Pre, v.Warnings)
	}
	edit(t, folder, splitAtVowels)
	_, err = Build(folder, GPT2, Input{Config: anySize, Arch: "x"})
	if u := (*fault.Unsupported)(nil); !errors.As(err, &u) || !strings.Contains(err.Error(), "without the llama.cpp runtime nothing can be proven") {
		t.Errorf("%v, want a refusal", err)
	}
}

// splitAtVowels is a splitter that no tokenizer has.
func splitAtVowels(file map[string]any) {
	file["pre_tokenizer"] = map[string]any{"type": "Sequence", "pretokenizers": []any{
		map[string]any{"type": "Split", "pattern": map[string]any{"Regex": "[aeiou]"}, "behavior": "Isolated", "invert": false},
		map[string]any{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false},
	}}
}

// TestAlike holds that a splitter spelled in another way is known again.
func TestAlike(t *testing.T) {
	folder, prover := recordedFolder(t, "adv-qwen3")
	edit(t, folder, func(file map[string]any) {
		split := file["pre_tokenizer"].(map[string]any)["pretokenizers"].([]any)[0].(map[string]any)
		pattern := split["pattern"].(map[string]any)
		re := strings.Replace(pattern["Regex"].(string), `(?i:'s|'t|'re|'ve|'m|'ll|'d)`, `'(?i:[sdmt]|ll|ve|re)`, 1)
		pattern["Regex"] = strings.Replace(re, `\p{L}+`, `[\p{L}]+`, 1)
	})
	v, err := Build(folder, GPT2, Input{Config: anySize, Arch: "x", Prover: prover})
	if err != nil {
		t.Fatal(err)
	}
	if v.Pre.Pre != "qwen2" || !v.Pre.Proven || len(v.Pre.Differs) != 15 {
		t.Errorf("%s, proven %t, %d texts differ; want qwen2, proven, 15", v.Pre.Pre, v.Pre.Proven, len(v.Pre.Differs))
	}
}

// TestMoreDiffer holds that a structural match does not stand when more differs than published tokenizers show.
func TestMoreDiffer(t *testing.T) {
	folder, prover := recordedFolder(t, "adv-bloom")
	prover.answer.Llama.Differs = map[string][]int32{"3": {1, 2, 3}}
	_, err := Build(folder, GPT2, Input{Config: anySize, Arch: "x", Prover: prover})
	refused := (*UnknownPre)(nil)
	if !errors.As(err, &refused) {
		t.Fatalf("%v, want a refusal", err)
	}
	if c := refused.Identity.Candidates; len(c) != 1 || c[0].Pre != "bloom" || c[0].Differs != 1 || c[0].First == nil || !strings.Contains(c[0].Why, "at most 0 texts") {
		t.Errorf("candidates %+v", c)
	}
	for _, want := range []string{"bloom (1)", "nearest is bloom", "llama.cpp [1 2 3]"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not say %q", err, want)
		}
	}
}

// TestRefusedLive holds that a splitter that fits nothing is refused, and that a copy with other merges is accepted.
func TestRefusedLive(t *testing.T) {
	prover := newLive(t)
	folder, _ := recordedFolder(t, "adv-qwen3")
	edit(t, folder, func(file map[string]any) {
		merges := file["model"].(map[string]any)["merges"].([]any)
		file["model"].(map[string]any)["merges"] = merges[:len(merges)/2]
	})
	v, err := Build(folder, GPT2, Input{Config: anySize, Arch: "x", Prover: prover})
	if err != nil {
		t.Fatal(err)
	}
	if v.Pre.Pre != "qwen2" || v.Pre.How != HowStructure || !v.Pre.Proven {
		t.Errorf("%+v, want qwen2 by structure", v.Pre)
	}
	edit(t, folder, splitAtVowels)
	_, err = Build(folder, GPT2, Input{Config: anySize, Arch: "x", Prover: prover})
	refused := (*UnknownPre)(nil)
	if !errors.As(err, &refused) {
		t.Fatalf("%v, want a refusal", err)
	}
	if n := len(refused.Identity.Candidates); n < 25 {
		t.Errorf("%d candidates tried, want one of each class", n)
	}
	if !strings.Contains(err.Error(), "the first text that differs is") {
		t.Errorf("%v: does not name a text", err)
	}
}

// TestOverride holds that the user's name is taken, checked and compared.
func TestOverride(t *testing.T) {
	folder, prover := recordedFolder(t, "adv-qwen3")
	v, err := Build(folder, GPT2, Input{Config: anySize, Arch: "x", Prover: prover, Pre: "stablelm2"})
	if err != nil {
		t.Fatal(err)
	}
	if v.Pre.Pre != "stablelm2" || v.Pre.How != HowOverride || len(v.Pre.Differs) != 15 || v.Value(keyPre) != "stablelm2" {
		t.Errorf("%s by %s with %d differences, want stablelm2 by override with 15", v.Pre.Pre, v.Pre.How, len(v.Pre.Differs))
	}
	if !strings.Contains(strings.Join(v.Warnings, "\n"), "15 of 272 texts otherwise") {
		t.Errorf("warnings %q do not say what differs", v.Warnings)
	}
	_, err = Build(folder, GPT2, Input{Config: anySize, Arch: "x", Pre: "qwen3"})
	if u := (*fault.Unsupported)(nil); !errors.As(err, &u) || !strings.Contains(u.Next, "qwen2") {
		t.Errorf("%v, want a refusal that names qwen2", err)
	}
}

// TestHash holds that a known hash decides, and that a better fit elsewhere is said.
func TestHash(t *testing.T) {
	folder, prover := recordedFolder(t, "adv-laguna")
	hash := *prover.answer.Auto.Hash
	hashes[hash] = "laguna"
	defer delete(hashes, hash)
	v, err := Build(folder, GPT2, Input{Config: anySize, Arch: "x", Prover: prover})
	if err != nil {
		t.Fatal(err)
	}
	if v.Pre.Pre != "laguna" || v.Pre.How != HowHash || len(v.Pre.Differs) != 5 || len(v.Warnings) != 1 {
		t.Errorf("%s by %s, %d differences, warnings %q", v.Pre.Pre, v.Pre.How, len(v.Pre.Differs), v.Warnings)
	}
}

// TestNames holds that every name of the hash table is one that llama.cpp has, WordPiece apart.
func TestNames(t *testing.T) {
	if len(hashes) < 90 {
		t.Errorf("%d hashes, want 90 or more", len(hashes))
	}
	for _, name := range hashes {
		if _, ok := preTypes[name]; !ok && preTypes[name].family == "" && !strings.HasPrefix(name, "bert-bge") && name != "jina-v2-en" {
			t.Errorf("%s is no name of llama.cpp", name)
		}
	}
	known := KnownPreTokenizers()
	if len(known) != len(preTypes) {
		t.Errorf("%d names listed, want %d", len(known), len(preTypes))
	}
	for _, p := range known {
		if p.Name == "qwen2" && (p.Hashes < 2 || p.Published != 1 || len(p.Like) != 8) {
			t.Errorf("%+v", p)
		}
	}
	for _, p := range published {
		if preTypes[p.pre].class == 0 {
			t.Errorf("%s has no class", p.pre)
		}
	}
}

// TestDisagreements holds that a tokenizer_config.json that says otherwise than tokenizer.json is named.
func TestDisagreements(t *testing.T) {
	folder, _ := recordedFolder(t, "adv-qwen3")
	var tc map[string]any
	if err := json.Unmarshal(folder["tokenizer_config.json"].Data, &tc); err != nil {
		t.Fatal(err)
	}
	added := tc["added_tokens_decoder"].(map[string]any)
	for id, token := range added {
		if token.(map[string]any)["content"] == "<|im_end|>" {
			delete(added, id)
			added["7"] = token
		}
	}
	data, err := json.Marshal(tc)
	if err != nil {
		t.Fatal(err)
	}
	folder["tokenizer_config.json"] = &fstest.MapFile{Data: data}
	v, err := Build(folder, GPT2, Input{Config: anySize, Arch: "x", Pre: "qwen2"})
	if err != nil {
		t.Fatal(err)
	}
	if all := strings.Join(v.Warnings, "\n"); !strings.Contains(all, `token "<|im_end|>" has the id 7 there and 484 in the tokenizer, where 7 is`) {
		t.Errorf("warnings %q", v.Warnings)
	}
}

// TestFromFiles holds that a folder of tokenizer files is enough.
func TestFromFiles(t *testing.T) {
	for name, want := range map[string]string{"adv-gpt4o": "gpt-4o", "spm": "default", "wpm": "jina-v2-en", "tekken": "tekken", "rwkv": ""} {
		folder, prover := recordedFolder(t, name)
		v, err := FromFiles(folder, Input{Arch: "x", Prover: prover})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if id := v.Decided(); id.Pre != want {
			t.Errorf("%s: %s, want %s", name, id.Pre, want)
		}
	}
}

// TestHashes holds that the hash of every tokenizer that AutoTokenizer loads is the one that the reference computes.
func TestHashes(t *testing.T) {
	src, err := corpus.FS()
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(src, "tokenizer/*.json")
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for _, f := range files {
		name := strings.TrimSuffix(path.Base(f), ".json")
		answer, err := corpus.Answers(name)
		if err != nil || answer.Auto.Hash == nil || answer.Auto.Class == "QWenTokenizer" {
			continue
		}
		folder, _ := recordedFolder(t, name)
		if len(folder) == 0 {
			continue
		}
		b := &builder{src: folder, out: &Vocab{}}
		if err := b.load(); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		ids, err := b.hf.tok.Encode(checkText, true)
		if err != nil {
			t.Fatal(err)
		}
		if compared++; hashIDs(ids) != *answer.Auto.Hash {
			t.Errorf("%s: hash %s, want %s", name, hashIDs(ids), *answer.Auto.Hash)
		}
	}
	if compared < 48 {
		t.Errorf("%d hashes compared, want 48 or more", compared)
	}
}
