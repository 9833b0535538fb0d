// Package policy decides what llama-quantize of llama.cpp v0.5.0 would write: the type of every tensor, the order of the
// tensors, the metadata, and hence the exact size of the file, before a weight is read.
//
// Everything here is a pure function of headers and options.
//
// Held by tests, not by the compiler:
//   - Types equal the reference's for every file type (TestPolicyAnswers, TestModelAnswers).
//   - Metadata, order, offsets and sizes equal the files that it wrote (TestWrittenAnswers).
//
// Price: what the reference decides from its loader's state is decided here from the metadata keys that feed it.
package policy

import "quern/convert/gguf"

// Options are the choices of llama-quantize beside the file type.
type Options struct {
	Pure            bool       // no mixture: every tensor in the default type of the file type
	LeaveOutput     bool       // output.weight keeps its type
	Output          *gguf.Type // for output.weight; nil: by the mixture
	Embedding       *gguf.Type // for token_embd.weight and per_layer_token_embd.weight; nil: by the mixture
	Tensors         []TensorType
	Overrides       []Override           // metadata keys to set
	Prune           []int                // layers to leave out, in any order
	KeepSplit       bool                 // as many files as the source has
	AllowRequantize bool                 // read tensors that are quantized already
	Imatrix         *Imatrix             // nil: none
	Recipe          map[string]gguf.Type // types by tensor name, before all other choices; nil: none
}

// Imatrix is what the policy needs to know of an importance matrix, after the choice of entries.
type Imatrix struct {
	File    string         // the name that the file records, cut at 127 bytes as the reference does
	Dataset string         // the first data set's name; may be empty
	Chunks  int64          // 0: not recorded
	Entries map[string]int // values of each entry: the row length times the number of matrices
}

// Decision is the type of one tensor of the output, and why.
type Decision struct {
	Name         string
	SourceName   string // differs from Name where pruning renumbers layers
	Part, Source int    // the source file, and the tensor's index in it
	From, To     gguf.Type
	Kept         bool      // whatever the file type: a norm, a router gate, a vector
	Rule         string    // the rule that chose To, as receipts show it
	Wanted       gguf.Type // differs from To where rows do not divide by Wanted's block
	Elements     int64
	Size         int64 // bytes in To
	Importance   bool  // the imatrix has an entry under SourceName that fits
	NeedsImatrix bool  // the reference refuses To without an entry
}

// Copied tells whether the tensor's bytes pass unchanged.
func (d Decision) Copied() bool { return d.From == d.To }

// Fallback tells whether the rows did not fit the wanted type.
func (d Decision) Fallback() bool { return d.Wanted != d.To }

// Types decides the type of every tensor of a model in one file, in the order of the output.
// Errors are *Refusal and *OptionError: the types cannot be decided.
func Types(p *gguf.Plan, ft FileType, o Options) ([]Decision, error) {
	out, err := Decide([]*gguf.Plan{p}, ft, o)
	if err != nil {
		return nil, err
	}
	return out.Decisions, nil
}

// role is what a tensor does, as far as the mixtures look: llama-quant.cpp, tensor_get_category.
type role string

const (
	embedding  role = "token_embd"
	output     role = "output"
	attnQ      role = "attn_q"
	attnK      role = "attn_k"
	attnV      role = "attn_v" // also fused qkv and the latent's kv_b, which the mixtures treat alike
	attnOutput role = "attn_output"
	ffnUp      role = "ffn_up"
	ffnGate    role = "ffn_gate"
	ffnDown    role = "ffn_down"
	other      role = "other"
)

// roles names the tensors of each role; the first part of a name that is found decides.
var roles = []struct {
	part  string
	exact bool
	role  role
}{
	{"output.weight", true, output},
	{"token_embd.weight", true, embedding},
	{perLayerEmbedding, true, embedding},
	{"attn_qkv.weight", false, attnV},
	{"attn_kv_b.weight", false, attnV},
	{"attn_v.weight", false, attnV},
	{"attn_k.weight", false, attnK},
	{"attn_q.weight", false, attnQ},
	{"attn_output.weight", false, attnOutput},
	{"ffn_up", false, ffnUp},
	{"ffn_gate", false, ffnGate},
	{"ffn_down", false, ffnDown},
}

const perLayerEmbedding = "per_layer_token_embd.weight"
