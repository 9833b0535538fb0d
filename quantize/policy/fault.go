package policy

// OptionError says that an option cannot be understood or does not fit the others: a usage error.
type OptionError struct {
	Option string // as on the command line, such as "--tensor-type"
	Value  string
	Says   string
	Next   string // what to do; may be empty
}

// Error is one line: the option, its value, what is wrong.
func (e *OptionError) Error() string { return e.Option + " " + e.Value + ": " + e.Says }

// Hint is what to do next.
func (e *OptionError) Hint() string { return e.Next }

// Reason sorts refusals.
type Reason string

// Why a file is not quantized as asked.
const (
	BadModel      Reason = "model"      // the source's metadata is missing something, or contradicts itself
	NoFallback    Reason = "fallback"   // rows do not divide, and the type has no smaller kin
	BadShape      Reason = "shape"      // an explicit type does not fit the rows
	BadType       Reason = "type"       // llama.cpp has no quantizer to, or no reader from, the type
	Requantize    Reason = "requantize" // the tensor is quantized already
	NeedsImatrix  Reason = "imatrix"    // the type is worthless without importance
	ImatrixDiffer Reason = "other"      // the imatrix belongs to another model
)

// Refusal says why a sound request is not carried out. Nothing has been written.
type Refusal struct {
	Why    Reason
	Tensor string // or the metadata key; may be empty
	Says   string
	Next   string // what to do; may be empty
}

// Error is one line: the tensor, and what is wrong.
func (e *Refusal) Error() string {
	if e.Tensor == "" {
		return e.Says
	}
	return e.Tensor + ": " + e.Says
}

// Hint is what to do next.
func (e *Refusal) Hint() string { return e.Next }
