// Package recipe finds a mixture of tensor types that fits a budget: the error of every tensor in every type is measured on
// sampled rows, weighted by importance, and the mixture with the least error in all is chosen exactly, or with a proven bound.
//
//	Measure   rows -> error of each tensor in each type
//	Solve     errors, sizes, budget -> a type for each tensor
//	Recipe    the result as a file, which replays it
//
// Held by tests, not by the compiler:
//   - Solve finds the optimum that trying everything finds (TestSolveIsOptimal); its bound is never above it.
//   - Neither workers nor their order change a measured bit (TestMeasureIsDeterministic).
//
// Price: errors of tensors are added as if they did not meet in the model, under weights by role that one small model taught.
package recipe

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"quern/convert/gguf"
)

// Version is that of the file format; a file of a later version is refused.
const Version = 1

// maxRecipe bounds the file: some hundred bytes a tensor.
const maxRecipe = 64 << 20 // bytes

// Recipe is a mixture as a file: JSON, in the order of the model's tensors.
type Recipe struct {
	Version int      `json:"version"`
	Model   string   `json:"model"`     // what it was made for: a name, for people
	Base    string   `json:"file_type"` // the file type that the output claims, and that decides tensors which the recipe does not name
	Budget  string   `json:"budget"`    // as asked for
	Size    int64    `json:"size"`      // bytes of the file
	Bits    float64  `json:"bits_per_weight"`
	Error   float64  `json:"error"` // the weighted error of the mixture
	Bound   float64  `json:"bound"` // no mixture within the budget has less
	Kernel  string   `json:"kernel"`
	Imatrix string   `json:"imatrix,omitempty"` // its digest; empty: none
	Tensors []Tensor `json:"tensors"`
}

// Tensor is the type of one tensor.
type Tensor struct {
	Name  string   `json:"name"`
	Type  TypeName `json:"type"`
	Error float64  `json:"error"` // relative, as measured
}

// TypeName is a tensor type that stands in JSON under ggml's name.
type TypeName gguf.Type

// MarshalJSON writes the name.
func (t TypeName) MarshalJSON() ([]byte, error) { return json.Marshal(gguf.Type(t).String()) }

// UnmarshalJSON reads a name in any case.
func (t *TypeName) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	g, ok := gguf.ParseType(s)
	if !ok {
		return fmt.Errorf("%q is no tensor type", s)
	}
	*t = TypeName(g)
	return nil
}

// Error says what is wrong with a recipe, a budget or a measurement.
type Error struct {
	On   string // the file or tensor; may be empty
	Says string
	Next string // what to do; may be empty
	Err  error  // the cause; may be nil
}

// Error is one line.
func (e *Error) Error() string {
	s := e.Says
	if e.On != "" {
		s = e.On + ": " + s
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Hint is what to do next.
func (e *Error) Hint() string { return e.Next }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Types is the mixture as the policy takes it.
func (r *Recipe) Types() map[string]gguf.Type {
	all := make(map[string]gguf.Type, len(r.Tensors))
	for _, t := range r.Tensors {
		all[t.Name] = gguf.Type(t.Type)
	}
	return all
}

// Write writes the file, one tensor a line.
func (r *Recipe) Write(w io.Writer) error {
	head := *r
	head.Version, head.Tensors = Version, nil
	b, err := json.MarshalIndent(head, "", " ")
	if err != nil {
		return err
	}
	b = append(b[:len(b)-len("null\n}")], "[\n"...)
	for i, t := range r.Tensors {
		line, err := json.Marshal(t)
		if err != nil {
			return err
		}
		b = append(append(b, "  "...), line...)
		if i < len(r.Tensors)-1 {
			b = append(b, ',')
		}
		b = append(b, '\n')
	}
	_, err = w.Write(append(b, " ]\n}\n"...))
	return err
}

// Read reads a recipe. Errors are *Error.
func Read(name string, in io.Reader) (*Recipe, error) {
	b, err := io.ReadAll(io.LimitReader(in, maxRecipe+1))
	if err != nil {
		return nil, &Error{On: name, Says: "cannot be read", Err: err}
	}
	if len(b) > maxRecipe {
		return nil, &Error{On: name, Says: fmt.Sprintf("more than %d bytes", maxRecipe)}
	}
	r := &Recipe{}
	if err := json.Unmarshal(b, r); err != nil {
		return nil, &Error{On: name, Says: "is not a recipe", Err: err}
	}
	if r.Version < 1 || r.Version > Version {
		return nil, &Error{On: name, Says: fmt.Sprintf("version %d of the format; this quern reads 1 to %d", r.Version, Version), Next: "update quern, or make the recipe again with --fit"}
	}
	seen := map[string]bool{}
	for _, t := range r.Tensors {
		if t.Name == "" || seen[t.Name] {
			return nil, &Error{On: name, Says: fmt.Sprintf("tensor %q stands twice or has no name", t.Name)}
		}
		seen[t.Name] = true
	}
	return r, nil
}

// Check holds the recipe against a model: every tensor that it names must be there, with rows that its type divides.
func (r *Recipe) Check(model *gguf.Plan) error {
	for _, t := range r.Tensors {
		i := slices.IndexFunc(model.Outputs, func(o gguf.Output) bool { return o.Name == t.Name })
		if i < 0 {
			return &Error{On: t.Name, Says: "the recipe names it, the model does not have it", Next: "make a recipe for this model with --fit"}
		}
		if row := model.Outputs[i].Shape[0]; row%gguf.Type(t.Type).Block() != 0 {
			return &Error{On: t.Name, Says: fmt.Sprintf("rows of %d do not divide by %s's blocks of %d", row, gguf.Type(t.Type), gguf.Type(t.Type).Block()),
				Next: "make a recipe for this model with --fit"}
		}
	}
	return nil
}
