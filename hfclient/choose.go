package hfclient

import (
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// Format is the kind of weights that a repo offers.
type Format string

// The formats, in the order in which they are preferred.
const (
	Safetensors  Format = "safetensors"  // model.safetensors, alone or in shards
	Consolidated Format = "consolidated" // consolidated.safetensors beside params.json
	Adapter      Format = "adapter"      // adapter_model.safetensors beside adapter_config.json
	Pickle       Format = "pickle"       // .bin or .pth: only when asked for
)

// Choice is what a conversion needs of a revision.
type Choice struct {
	Format  Format
	Weights []File // by path
	Side    []File // configuration, tokenizer, templates, model card, licence; by path
}

// Files is everything chosen, by path.
func (c Choice) Files() []File {
	all := append(append([]File(nil), c.Side...), c.Weights...)
	sort.Slice(all, func(i, j int) bool { return all[i].Path < all[j].Path })
	return all
}

// Want widens a choice.
type Want struct {
	Pickle  bool // take PyTorch files if there are no safetensors
	Mistral bool // take Mistral's own layout though the repo has the other too
}

// maxIndex bounds an index of shards; that of a model of 100,000 tensors takes 10 MB.
const maxIndex = 64 << 20

// sideNames are the files at the root of a repo that a conversion may read besides the weights.
var sideNames = []string{
	"*.json", "*.jsonl", "*.jinja", "*.model", "*.model.*", "*.txt", "*.tiktoken", "README.md", "LICENSE*",
	"additional_chat_templates/*.jinja",
	// The modules of a sentence embedding model: pooling and dense layers.
	"[0-9]_*/config.json", "[0-9]_Dense/model.safetensors",
	// What makes sound of a model's codes, or codes of sound.
	"speech_tokenizer/config.json", "speech_tokenizer/model.safetensors", "audio_tokenizer/config.json", "audio_tokenizer/model.safetensors",
}

var (
	shardName = regexp.MustCompile(`^(model|consolidated|pytorch_model|adapter_model)-(\d{5})-of-(\d{5})\.(safetensors|bin)$`)
	pthName   = regexp.MustCompile(`^consolidated\.\d\d\.pth$`)
)

// plan of one format: the index, the single file, and the file that must stand beside them.
var weightPlans = []struct {
	format              Format
	index, single, with string
	pickle              bool
}{
	{Safetensors, "model.safetensors.index.json", "model.safetensors", "", false},
	{Consolidated, "consolidated.safetensors.index.json", "consolidated.safetensors", "params.json", false},
	{Adapter, "adapter_model.safetensors.index.json", "adapter_model.safetensors", "adapter_config.json", false},
	{Pickle, "pytorch_model.bin.index.json", "pytorch_model.bin", "", true},
	{Pickle, "", "adapter_model.bin", "adapter_config.json", true},
}

// Choose picks what a conversion needs from a listing: one set of weights, never two, and the small files beside it.
// read gives the data of a listed file; only an index is asked for. Errors: ErrNoWeights says what was found instead;
// ErrIntegrity is an index that names what is not there.
func Choose(r *Revision, want Want, read func(File) ([]byte, error)) (Choice, error) {
	byPath := make(map[string]File, len(r.Files))
	for _, f := range r.Files {
		byPath[f.Path] = f
	}
	var c Choice
	for _, p := range weightPlans {
		if _, ok := byPath[p.with]; p.with != "" && !ok || p.pickle && !want.Pickle || want.Mistral && p.format == Safetensors {
			continue
		}
		names, err := weightNames(r, byPath, p.index, p.single, read)
		if err != nil {
			return Choice{}, err
		}
		if names != nil {
			c.Format = p.format
			c.Weights, err = pick(r, byPath, p.index, names)
			if err != nil {
				return Choice{}, err
			}
			break
		}
	}
	if c.Weights == nil && want.Pickle {
		for _, f := range r.Files {
			if pthName.MatchString(f.Path) {
				c.Format, c.Weights = Pickle, append(c.Weights, f)
			}
		}
	}
	if c.Weights == nil {
		return Choice{}, noWeights(r)
	}
	c.Side = side(r.Files, c.Weights)
	return c, nil
}

// weightNames is nil if the repo has none of this kind.
func weightNames(r *Revision, byPath map[string]File, index, single string, read func(File) ([]byte, error)) ([]string, error) {
	if f, ok := byPath[index]; ok {
		on := r.Repo + "/" + index
		if f.Size > maxIndex {
			return nil, &Error{Kind: ErrIntegrity, On: on, Says: fmt.Sprintf("index of %d bytes, at most %d are read", f.Size, maxIndex)}
		}
		data, err := read(f)
		if err != nil {
			return nil, err
		}
		names, err := parseIndex(data)
		if err != nil {
			return nil, &Error{Kind: ErrIntegrity, On: on, Says: "cannot be used", Err: err,
				Next: "the repo's owner must repair its index"}
		}
		return names, nil
	}
	if _, ok := byPath[single]; ok {
		return []string{single}, nil
	}
	return shards(r.Files, strings.TrimSuffix(single, path.Ext(single)), strings.TrimPrefix(path.Ext(single), ".")), nil
}

// shards finds a complete set name-00001-of-0000N without an index.
func shards(files []File, stem, ext string) []string {
	var names []string
	of := 0
	for _, f := range files {
		m := shardName.FindStringSubmatch(f.Path)
		if m == nil || m[1] != stem || m[4] != ext {
			continue
		}
		n, _ := strconv.Atoi(m[2])
		total, _ := strconv.Atoi(m[3])
		if n != len(names)+1 || of != 0 && total != of {
			return nil
		}
		of = total
		names = append(names, f.Path)
	}
	if of == 0 || len(names) != of {
		return nil
	}
	return names
}

// parseIndex reads the shard names of a weight_map, each once, in order.
func parseIndex(data []byte) ([]string, error) {
	var index struct {
		WeightMap map[string]string `json:"weight_map"`
	}
	if err := json.Unmarshal(data, &index); err != nil {
		return nil, err
	}
	if len(index.WeightMap) == 0 {
		return nil, fmt.Errorf("no weight_map")
	}
	seen := map[string]bool{}
	var names []string
	for _, n := range index.WeightMap {
		if !seen[n] {
			seen[n] = true
			names = append(names, n)
		}
	}
	sort.Strings(names)
	for _, n := range names {
		if err := cleanName(n); err != nil {
			return nil, err
		}
	}
	return names, nil
}

// pick finds the shards in the listing. An index that names others is an upload that has not ended, or a mistake.
func pick(r *Revision, byPath map[string]File, index string, names []string) ([]File, error) {
	var files []File
	for _, n := range names {
		f, ok := byPath[n]
		if !ok {
			return nil, &Error{Kind: ErrIntegrity, On: r.Repo + "/" + index, Says: fmt.Sprintf("names %q, which the repo does not hold", n),
				Next: "the upload may not be finished; choose another revision or ask the owner"}
		}
		files = append(files, f)
	}
	return files, nil
}

// side takes no weights twice: dense modules of an embedding model are side files that end like weights.
func side(files, weights []File) []File {
	taken := map[string]bool{}
	for _, w := range weights {
		taken[w.Path] = true
	}
	var out []File
	for _, f := range files {
		if !taken[f.Path] && isSide(f.Path) {
			out = append(out, f)
		}
	}
	return out
}

// isSide never matches program text: nothing from a repo is ever run.
func isSide(p string) bool {
	for _, pattern := range sideNames {
		if ok, _ := path.Match(pattern, p); ok {
			return true
		}
	}
	return false
}

// noWeights says what is there and why it does not serve.
func noWeights(r *Revision) error {
	kinds := []struct {
		what, next string
		is         func(p string) bool
	}{
		{"GGUF files", "this repo is converted already: name one of them as hf:" + r.Repo + "/FILE.gguf, or the repo that it was made from",
			func(p string) bool { return strings.HasSuffix(p, ".gguf") }},
		{"PyTorch files (.bin, .pth)", "allow them explicitly, or look for a revision with safetensors (often refs/pr/1)",
			func(p string) bool { return strings.HasSuffix(p, ".bin") || strings.HasSuffix(p, ".pth") }},
		{"safetensors under other names", "a checkpoint has model.safetensors or its index at the root of the repo",
			func(p string) bool { return strings.HasSuffix(p, ".safetensors") }},
		{"weights of other frameworks", "look for the repo's PyTorch or safetensors sibling",
			func(p string) bool {
				return strings.HasSuffix(p, ".onnx") || strings.HasSuffix(p, ".h5") || strings.HasSuffix(p, ".msgpack") || strings.HasSuffix(p, ".mlmodel")
			}},
	}
	e := &Error{Kind: ErrNoWeights, On: r.Repo, Says: fmt.Sprintf("no model.safetensors among its %d files", len(r.Files)),
		Next: "name a repo that holds a checkpoint in safetensors"}
	var found []string
	for _, k := range kinds {
		n, example := 0, ""
		for _, f := range r.Files {
			if k.is(f.Path) {
				if n++; example == "" {
					example = f.Path
				}
			}
		}
		if n > 0 {
			if found == nil {
				e.Next = k.next
			}
			found = append(found, fmt.Sprintf("%d %s such as %s", n, k.what, example))
		}
	}
	if found != nil {
		e.Says += ", only " + strings.Join(found, " and ")
	}
	return e
}
