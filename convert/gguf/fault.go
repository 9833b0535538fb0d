package gguf

import "fmt"

// FormatError says that a file, or what should become one, contradicts the format.
type FormatError struct {
	File        string // empty when the file does not exist yet
	On          string // the key or tensor; empty when the file as a whole is meant
	Says        string // what is wrong, with the numbers
	Next        string // a hint; may be empty
	Unsupported bool   // sound, but of a kind that is not read: big-endian, a later version
	Err         error  // the cause, if there is one
}

// Error is one line: file, key or tensor, what is wrong, cause.
func (e *FormatError) Error() string {
	s := e.File
	for _, part := range []string{e.On, e.Says} {
		if s != "" && part != "" {
			s += ": "
		}
		s += part
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Hint is the next step for the user.
func (e *FormatError) Hint() string {
	if e.Next == "" && e.File != "" && !e.Unsupported {
		return "the file is damaged or incomplete: make or download it again"
	}
	return e.Next
}

// Unwrap gives the cause.
func (e *FormatError) Unwrap() error { return e.Err }

func badKey(key, format string, args ...any) *FormatError {
	return &FormatError{On: fmt.Sprintf("key %q", key), Says: fmt.Sprintf(format, args...)}
}

func badTensor(name, format string, args ...any) *FormatError {
	return &FormatError{On: fmt.Sprintf("tensor %q", name), Says: fmt.Sprintf(format, args...)}
}
