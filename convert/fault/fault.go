// Package fault holds the errors of conversion: what failed, on what, why, and what to do next.
package fault

// Unsupported says that the input is sound but that quern does not convert it: an unknown architecture,
// tokenizer or source format. The command ends with exit code 13.
type Unsupported struct {
	On   string // the file, tensor or model
	Says string // what is not supported, in lower case
	Next string // what to do, as a hint; may be empty
}

// Error is one line: on what, and what is not supported.
func (e *Unsupported) Error() string { return join(e.On, e.Says) }

// Hint is the next step for the user.
func (e *Unsupported) Hint() string { return e.Next }

// Invalid says that the input contradicts itself or its format: a damaged file, a missing key, a wrong shape.
// The command ends with exit code 12.
type Invalid struct {
	On   string // the file, tensor or key
	Says string // what is wrong, in lower case, with the numbers: size and limit, want and got
	Next string // what to do, as a hint; may be empty
	Err  error  // the cause, if there is one
}

// Error is one line: on what, what is wrong, and the cause.
func (e *Invalid) Error() string {
	s := join(e.On, e.Says)
	if e.Err != nil {
		return s + ": " + e.Err.Error()
	}
	return s
}

// Hint is the next step for the user.
func (e *Invalid) Hint() string { return e.Next }

// Unwrap gives the cause.
func (e *Invalid) Unwrap() error { return e.Err }

func join(on, says string) string {
	if on == "" {
		return says
	}
	return on + ": " + says
}
