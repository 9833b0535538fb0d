package safetensors

import "fmt"

// FormatError says that a file contradicts the format or its index: damage, not a lack of support.
type FormatError struct {
	File   string // the file, as the source names it
	Tensor string // the tensor, empty when the header as a whole is meant
	Says   string // what is wrong, with the numbers
	Next   string // a hint; may be empty
	Err    error  // the cause, if there is one
}

// Error is one line: file, tensor, what is wrong, cause.
func (e *FormatError) Error() string {
	s := e.File
	if e.Tensor != "" {
		s += fmt.Sprintf(": tensor %q", e.Tensor)
	}
	s += ": " + e.Says
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Hint is the next step for the user.
func (e *FormatError) Hint() string {
	if e.Next != "" {
		return e.Next
	}
	return "the file is damaged or incomplete: download it again and compare its digest with the repository's"
}

// Unwrap gives the cause.
func (e *FormatError) Unwrap() error { return e.Err }

// bad makes the error; parser.fail adds the file and the tensor that are being read.
func bad(file, tensor, format string, args ...any) *FormatError {
	return &FormatError{File: file, Tensor: tensor, Says: fmt.Sprintf(format, args...)}
}
