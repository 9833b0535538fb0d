package llamacpp

import (
	"errors"
	"strings"
)

// ErrRuntime is what every failure of the llama.cpp runtime is (errors.Is); the command ends with exit code 14.
var ErrRuntime = errors.New("llama.cpp runtime")

// Fault tells how the runtime failed.
type Fault string

// The faults.
const (
	Missing   Fault = "missing"   // no libraries were found
	Mismatch  Fault = "mismatch"  // libraries of another version
	Broken    Fault = "broken"    // libraries that do not load, or an install that failed
	Integrity Fault = "integrity" // a download is not what was published
	Refused   Fault = "refused"   // llama.cpp returned an error: the model, the context or a batch was not accepted
	Crashed   Fault = "crashed"   // the child died of a signal or an abort
	Memory    Fault = "memory"    // the child was killed by the system or could not allocate
	Hung      Fault = "hung"      // the child made no progress and was stopped
	Protocol  Fault = "protocol"  // the child said what no child says
)

// Error is a failure of the runtime: what failed, on what, why, and what to do next.
type Error struct {
	Fault Fault
	Op    string   // what was being done, such as "load"
	On    string   // the file, folder or package; may be empty
	Says  string   // why, in lower case
	Next  string   // what to do, as a hint; may be empty
	Log   []string // the last lines that llama.cpp or the installer wrote
	Err   error    // the cause, if there is one
}

// Error is one line without the log.
func (e *Error) Error() string {
	parts := make([]string, 0, 5)
	for _, s := range []string{"llama.cpp", e.Op, e.On, e.Says} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, ": ")
}

// Hint is the next step for the user.
func (e *Error) Hint() string { return e.Next }

// Detail is the end of llama.cpp's own log, one line each.
func (e *Error) Detail() []string { return e.Log }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is makes every runtime failure an ErrRuntime.
func (e *Error) Is(target error) bool { return target == ErrRuntime }

const installHint = "run `quern runtime install`, or name a folder with a llama.cpp " + Version + " build: --llama-lib DIR or QUERN_LLAMA_LIB"
