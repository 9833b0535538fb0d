// Package conformance holds quern against the reference: it makes the small checkpoints that cases describe and
// compares what quern wrote for them with what llama.cpp v0.5.0 wrote.
//
// A tree of cases is an fs.FS: a folder, or test data packed with the pack command and opened by OpenBundle.
//
// Held by tests, not by the compiler:
//   - A checkpoint has the very bytes that the recording tool made (TestCheckpointDigests).
//   - A difference of one bit, key or tensor is found and named (TestCompareNames).
//
// Price: a checkpoint is made in memory, so a case is at most maxCheckpoint bytes.
package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"testing/fstest"
)

// maxCheckpoint bounds the generated tensors of one case; the largest recorded case holds 12 MB.
const maxCheckpoint = 1 << 28 // bytes

// defaultRun is what a case without runs stands for.
const defaultRun = "bf16"

// Case is one described checkpoint and the runs of the reference on it.
type Case struct {
	Name      string              // the last element of its path
	Dir       string              // the name of the checkpoint's folder, from which the reference derives general.name
	Tokenizer string              // the folder below tokenizers/ that was copied in; may be empty
	Pre       string              // the reference's pre-tokenizer that the tiny tokenizer stands for; empty: detect it
	Runs      map[string][]string // arguments of each run; {src} and {base} stand for the checkpoint's and the base's folder
	Tool      string              // the reference's script, convert_hf_to_gguf.py by default
	Fails     []string            // the runs that the reference refuses
	Tolerance Tolerance           // what may differ from the answers, and why is said in the tree's README
	Metadata  []Pair              // of the safetensors headers; nil: none
	Shards    []Shard             // in file order

	tree fs.FS
	path string
}

// Pair is one entry of a safetensors header's metadata.
type Pair struct{ Key, Value string }

// Shard is one safetensors file with its tensors in file order.
type Shard struct {
	File    string
	Tensors []Tensor
}

// Tensor is a described tensor; Mod, where not 0, bounds its integers.
type Tensor struct {
	Name  string
	DType string
	Shape []int64 // outermost first
	Mod   uint64
}

// OpenCase reads case.json in the folder at name of the tree, such as "convert/llama-tiny".
func OpenCase(tree fs.FS, name string) (*Case, error) {
	data, err := fs.ReadFile(tree, path.Join(name, "case.json"))
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", name, err)
	}
	var d struct {
		Dir, Tokenizer, Tool string
		Runs                 map[string][]string
		Fails                []string
		Unordered            []string
		Without              []string
		Metadata             json.RawMessage
		Shards               json.RawMessage
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("case %s: %w", name, err)
	}
	c := &Case{
		Name: path.Base(name), Dir: d.Dir, Tokenizer: d.Tokenizer, Runs: d.Runs, Tool: d.Tool, Fails: d.Fails,
		Tolerance: Tolerance{Unordered: d.Unordered, Without: d.Without}, tree: tree, path: name,
	}
	if c.Dir == "" {
		c.Dir = c.Name
	}
	if c.Tool == "" {
		c.Tool = "convert_hf_to_gguf.py"
	}
	if c.Runs == nil {
		c.Runs = map[string][]string{defaultRun: {"--outtype", defaultRun}}
	}
	if c.Metadata, err = metadata(d.Metadata); err == nil {
		c.Shards, err = shards(d.Shards)
	}
	if err == nil {
		c.Pre, err = c.preTokenizer()
	}
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", name, err)
	}
	return c, nil
}

// Cases lists the folders below dir that hold a case, sorted by name.
func Cases(tree fs.FS, dir string) ([]string, error) {
	found, err := fs.Glob(tree, path.Join(dir, "*", "case.json"))
	for i, f := range found {
		found[i] = path.Dir(f)
	}
	return found, err
}

// Checkpoint makes the case's checkpoint in memory. Its files implement io.ReaderAt; os.CopyFS writes it to a folder.
func (c *Case) Checkpoint() (fs.FS, error) {
	out := fstest.MapFS{}
	if c.Tokenizer != "" {
		root, err := c.tokenizers()
		if err == nil {
			err = copyTree(out, c.tree, path.Join(root, c.Tokenizer))
		}
		if err != nil {
			return nil, fmt.Errorf("case %s: tokenizer %s: %w", c.Name, c.Tokenizer, err)
		}
	}
	if files := path.Join(c.path, "files"); exists(c.tree, files) {
		if err := copyTree(out, c.tree, files); err != nil {
			return nil, fmt.Errorf("case %s: %w", c.Name, err)
		}
	}
	room := int64(maxCheckpoint)
	for _, s := range c.Shards {
		data, err := s.bytes(c.Metadata, &room)
		if err != nil {
			return nil, fmt.Errorf("case %s: %s: %w", c.Name, s.File, err)
		}
		out[s.File] = &fstest.MapFile{Data: data, Mode: 0o644}
	}
	if len(c.Shards) > 1 {
		out["model.safetensors.index.json"] = &fstest.MapFile{Data: index(c.Shards), Mode: 0o644}
	}
	return out, nil
}

// Base is the folder of the base model's small files, for adapters; an error that wraps fs.ErrNotExist if the case has none.
func (c *Case) Base() (fs.FS, error) {
	base := path.Join(c.path, "base")
	if _, err := fs.Stat(c.tree, base); err != nil {
		return nil, fmt.Errorf("case %s: %w", c.Name, err)
	}
	return fs.Sub(c.tree, base)
}

// Answer is what the reference answered to a run of the case.
func (c *Case) Answer(run string) (*Answer, error) {
	return ReadAnswer(c.tree, path.Join(c.path, "expected."+run+".json"))
}

// tokenizers finds the folder that holds the case's tokenizer: beside the case's group, or in the tree's root.
func (c *Case) tokenizers() (string, error) {
	for _, root := range []string{path.Join(c.path, "..", "..", "tokenizers"), "tokenizers"} {
		if exists(c.tree, path.Join(root, c.Tokenizer)) {
			return root, nil
		}
	}
	return "", fs.ErrNotExist
}

// preTokenizer looks up which entry of the reference's table of hashes the tiny tokenizer stands for.
func (c *Case) preTokenizer() (string, error) {
	if c.Tokenizer == "" {
		return "", nil
	}
	pre := ""
	for _, root := range []string{"tokenizers", path.Join(c.path, "..", "..", "tokenizers")} {
		data, err := fs.ReadFile(c.tree, path.Join(root, "pre.json"))
		if err != nil {
			continue // a tree may hold tokenizers that the reference knows by itself
		}
		table := map[string]string{}
		if err := json.Unmarshal(data, &table); err != nil {
			return "", fmt.Errorf("%s/pre.json: %w", root, err)
		}
		if p, ok := table[c.Tokenizer]; ok {
			pre = p
		}
	}
	return pre, nil
}

func exists(tree fs.FS, name string) bool {
	_, err := fs.Stat(tree, name)
	return err == nil
}

func copyTree(to fstest.MapFS, tree fs.FS, root string) error {
	sub, err := fs.Sub(tree, root)
	if err != nil {
		return err
	}
	return fs.WalkDir(sub, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(sub, name)
		to[name] = &fstest.MapFile{Data: data, Mode: 0o644}
		return err
	})
}

// metadata decodes an object in its own order: absent is the recording tool's default, null is none.
func metadata(raw json.RawMessage) ([]Pair, error) {
	if raw == nil {
		return []Pair{{"format", "pt"}}, nil
	}
	if string(raw) == "null" {
		return nil, nil
	}
	pairs := []Pair{}
	err := object(raw, func(key string, d *json.Decoder) error {
		var v string
		err := d.Decode(&v)
		pairs = append(pairs, Pair{key, v})
		return err
	})
	return pairs, err
}

func shards(raw json.RawMessage) ([]Shard, error) {
	var all []Shard
	err := object(raw, func(key string, d *json.Decoder) error {
		s := Shard{File: key}
		if err := d.Decode(&s.Tensors); err != nil {
			return err
		}
		if !fs.ValidPath(key) {
			return fmt.Errorf("shard %q is not a path inside the checkpoint", key)
		}
		all = append(all, s)
		return nil
	})
	return all, err
}

// UnmarshalJSON reads [name, dtype, shape] or [name, dtype, shape, mod].
func (t *Tensor) UnmarshalJSON(data []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	to := []any{&t.Name, &t.DType, &t.Shape, &t.Mod}
	if len(parts) < 3 || len(parts) > len(to) {
		return fmt.Errorf("a tensor is [name, dtype, shape] with an optional mod, not %d values", len(parts))
	}
	for i, p := range parts {
		if err := json.Unmarshal(p, to[i]); err != nil {
			return err
		}
	}
	return nil
}

// object calls each for every member in the order of the text.
func object(raw json.RawMessage, each func(key string, d *json.Decoder) error) error {
	if len(raw) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("want an object, got %v", t)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		if err := each(key.(string), d); err != nil {
			return fmt.Errorf("%q: %w", key, err)
		}
	}
	_, err := d.Token()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
