// Package lora reads the adapters that PEFT writes: adapter_config.json beside adapter_model.safetensors or .bin.
//
// An adapter's matrices come in pairs, A and B, whose product is the change of one matrix of the base model. Open pairs them
// and names each product as the base names its matrix, so that the base's own rules (convert/arch) name and reorder it; the
// factors stay apart (view.Factors). Norms that an adapter brings whole come first, as the reference writes them.
//
// What is neither a factor nor a norm is refused by name and with what would help: DoRA's magnitudes, biases, whole
// modules that were trained.
//
// Source: convert_lora_to_gguf.py of llama.cpp v0.5.0. Held by tests: every recorded adapter gives the reference's file
// (convert, TestAdapterCases); no configuration and no file makes Open panic (FuzzOpen).
package lora

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/pickle"
	"quern/convert/safetensors"
	"quern/convert/view"
)

// The names of an adapter's files.
const (
	ConfigFile = "adapter_config.json"
	Weights    = "adapter_model.safetensors"
	Pickled    = "adapter_model.bin"
)

// Adapter is an open adapter.
type Adapter struct {
	Config   Config
	Tensors  []view.Tensor // norms, then products of pairs in the order of their first members, under the base's names
	Stored   []view.Tensor // as they stand in the file, by name: the type of the first matrix decides `auto`
	Warnings []string

	files io.Closer
}

// Close closes the files. Tensors cannot be read afterwards.
func (a *Adapter) Close() error { return a.files.Close() }

// Open reads the adapter in the root of src, whose files must implement io.ReaderAt: safetensors where they are there, the
// PyTorch file otherwise. Errors are *fault.Unsupported for tensors that a LoRA file cannot hold, *fault.Invalid and the
// formats' own for what is broken, and those of src.
func Open(src fs.FS) (*Adapter, error) {
	c, err := ReadConfig(src)
	if err != nil {
		return nil, err
	}
	a := &Adapter{Config: *c, Warnings: c.warnings()}
	if err := a.open(src); err != nil {
		return nil, err
	}
	if err := a.pair(); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	return a, nil
}

// open lists the stored tensors in the order of the file's data, which is the one that the reference meets them in.
func (a *Adapter) open(src fs.FS) error {
	_, err := fs.Stat(src, Weights)
	if err == nil {
		ckpt, err := safetensors.OpenFiles(src, Weights)
		if err != nil {
			return err
		}
		a.files = ckpt
		list := slices.Clone(ckpt.Tensors())
		slices.SortStableFunc(list, func(x, y safetensors.Tensor) int { return cmp.Compare(x.Offset, y.Offset) })
		for _, t := range list {
			a.Stored = append(a.Stored, view.FromFile(t.Entry, t.Shard.Reader))
		}
		return nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	ckpt, err := pickle.OpenFiles(src, Pickled)
	if errors.Is(err, fs.ErrNotExist) {
		return &fault.Invalid{On: Weights, Says: "there is none, and no " + Pickled + " either", Next: "an adapter is a folder with " + ConfigFile + " and " + Weights, Err: err}
	}
	if err != nil {
		return err
	}
	a.files = ckpt
	for _, t := range ckpt.Tensors() {
		a.Stored = append(a.Stored, t.Tensor)
	}
	return nil
}

// member says what a stored tensor is.
type member int

const (
	other  member = iota
	first         // A
	second        // B
	norm
	ignored // the base's own weights
)

// baseName takes PEFT's additions off a name. Source: get_base_tensor_name.
var baseName = strings.NewReplacer("base_model.model.", "", ".lora_A.weight", ".weight", ".lora_B.weight", ".weight",
	".lora_embedding_A", ".weight", ".lora_embedding_B", ".weight")

func memberOf(name string) member {
	has := func(texts ...string) bool {
		return slices.ContainsFunc(texts, func(t string) bool { return strings.Contains(name, t) })
	}
	switch {
	case has(".lora_A.weight", ".lora_embedding_A"):
		return first
	case has(".lora_B.weight", ".lora_embedding_B"):
		return second
	case has(".base_layer.weight"):
		return ignored
	case has("_layernorm", ".norm"):
		return norm
	}
	return other
}

// half is a pair in the making.
type half struct {
	name string
	a, b *view.Tensor
}

// pair makes Tensors of Stored.
func (a *Adapter) pair() error {
	var norms []view.Tensor
	var pairs []*half
	at := map[string]*half{}
	for i := range a.Stored {
		t := &a.Stored[i]
		base := baseName.Replace(t.Name)
		kind := memberOf(t.Name)
		switch kind {
		case ignored:
			continue
		case norm:
			norms = append(norms, t.Named(base))
			continue
		case other:
			return unexpected(t.Name)
		}
		p := at[base]
		if p == nil {
			p = &half{name: base}
			at[base], pairs = p, append(pairs, p)
		}
		to := &p.a
		if kind == second {
			to = &p.b
		}
		if *to != nil {
			return &fault.Invalid{On: t.Name, Says: "it is the same factor as " + (*to).Name}
		}
		*to = t
	}
	a.Tensors = norms
	for _, p := range pairs {
		t, err := a.product(p)
		if err != nil {
			return err
		}
		a.Tensors = append(a.Tensors, t)
	}
	slices.SortStableFunc(a.Stored, func(x, y view.Tensor) int { return cmp.Compare(x.Name, y.Name) })
	return nil
}

func (a *Adapter) product(p *half) (view.Tensor, error) {
	switch {
	case p.a == nil:
		return view.Tensor{}, &fault.Invalid{On: p.b.Name, Says: "the factor A that belongs to it is missing"}
	case p.b == nil:
		return view.Tensor{}, &fault.Invalid{On: p.a.Name, Says: "the factor B that belongs to it is missing"}
	}
	t, err := view.Product(p.name, *p.a, *p.b)
	if err == nil && a.Config.Transposed && !strings.Contains(p.a.Name, "lora_embedding") && p.name != "lm_head.weight" {
		t, err = view.Transpose(t)
	}
	return t, err
}

// unexpected refuses a tensor that has no place in a LoRA file, with what it is in the words of PEFT.
func unexpected(name string) error {
	says, next := "it is neither a factor of a pair nor a norm", "merge the adapter into its base with PEFT (merge_and_unload) and convert the merged model"
	switch {
	case strings.Contains(name, "lora_magnitude_vector"):
		says = "the adapter is a DoRA: its magnitudes have no place in a LoRA file"
	case strings.HasSuffix(name, ".bias"):
		says = "the adapter trained biases, which have no place in a LoRA file"
	case strings.Contains(name, ".lora_A.") || strings.Contains(name, ".lora_B."):
		says, next = "the name carries that of the adapter", "save the adapter with PEFT's save_pretrained, which takes its name out"
	case strings.HasSuffix(name, ".embed_tokens.weight"), strings.HasSuffix(name, ".lm_head.weight"):
		says = "the adapter brings a whole embedding (modules_to_save, or tokens added in tuning), which has no place in a LoRA file"
	}
	return &fault.Unsupported{On: name, Says: says, Next: next}
}
