package arch

import (
	"io/fs"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/view"
	"quern/convert/vocab"
)

// Options are the choices of the user that change names, tensors or keys.
type Options struct {
	Type         FileType // what matrices are stored as
	NoMTP        bool     // leave the multi-token prediction layers out
	MTPOnly      bool     // only those layers, with what they share
	DSpark       bool     // only the DSpark draft that the checkpoint carries
	FuseQKV      bool     // one tensor for query, key and value
	FuseGateUp   bool     // one tensor for the experts' gate and up
	DenseModules bool     // sentence-transformers' dense layers too
	FP8AsQ8      bool     // what is stored in eight-bit floats as Q8_0
}

// Env is what expressions and rules see of a checkpoint. Rules do not change it; Config steps and Let do, each on a copy.
type Env struct {
	Arch   *Arch
	GGUF   string        // the architecture that is written
	HF     string        // the class name that chose the entry
	Config config.Object // completed, with text_config merged over the root
	Root   config.Object // completed, before that
	Rope   config.Object // the rope parameters, completed from Config; never nil
	File   config.Object // config.json as it stands in the checkpoint
	AsIs   bool          // Config is File: transformers could not complete it

	Source fs.FS
	Dir    string // name of the checkpoint's folder
	Target *Target
	Blocks int64
	Options

	Tensors []view.Tensor // of the checkpoint, in its order, under its own names

	// Vocabulary reads the tokenizer, once: for entries whose tensors depend on the number of tokens.
	Vocabulary func() (*vocab.Vocab, error)

	// Original is the repository that the checkpoint was made from, "" where its card names none; for refusals only.
	Original func() string

	// Of projectors: Config is the part of the configuration that is the vision tower's, else the audio tower's.
	part      part
	audio     config.Object // the audio tower's where Config is the vision tower's
	processor config.Object // how pictures and sound are prepared: preprocessor_config.json, processor_config.json over it

	block int64 // number of the block that a rule works on
}

// Target is the model that a draft model was made for.
type Target struct {
	Source fs.FS
	Dir    string
	Config *config.Config
}

// maxBlocks bounds block_count, and with it every list that has an element per block. llama.cpp v0.5.0 loads 512 at most.
const maxBlocks = 16384

// value is a key of the configuration, whatever it holds; ok is false where it is absent.
func (e *Env) value(keys ...string) (any, bool) { return e.Config.Find(keys...) }

// Int evaluates an expression that must be an integer.
func (e *Env) Int(x Expr) (int64, error) {
	v, err := x.Eval(e)
	if err != nil {
		return 0, err
	}
	i, ok := integer(v)
	if !ok || !i.IsInt64() {
		return 0, &fault.Invalid{On: "config.json: " + x.String(), Says: "an integer is needed, not " + show(v)}
	}
	return i.Int64(), nil
}

// Float evaluates an expression that must be a number.
func (e *Env) Float(x Expr) (float64, error) {
	v, err := x.Eval(e)
	if err != nil {
		return 0, err
	}
	f, ok := number(v)
	if !ok {
		return 0, &fault.Invalid{On: "config.json: " + x.String(), Says: "a number is needed, not " + show(v)}
	}
	return f, nil
}

// Truth evaluates a condition as Python would; nil holds.
func (e *Env) Truth(x Expr) (bool, error) {
	if x == nil {
		return true, nil
	}
	v, err := x.Eval(e)
	return config.Truth(v), err
}

// HasTensor tells whether the checkpoint has a tensor of this name.
func (e *Env) HasTensor(name string) bool {
	for i := range e.Tensors {
		if e.Tensors[i].Name == name {
			return true
		}
	}
	return false
}

// with is the environment with one key of the configuration set.
func (e *Env) with(key string, v any) *Env {
	c := *e
	c.Config = e.Config.Merge(config.Object{key: v})
	return &c
}

func (e *Env) hasFile(name string) bool {
	info, err := fs.Stat(e.Source, name)
	return err == nil && !info.IsDir()
}
