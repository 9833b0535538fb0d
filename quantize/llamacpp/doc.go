// Package llamacpp finds, installs and drives the llama.cpp runtime: its shared libraries, its quantization kernels
// and, in a child process, its inference.
//
// Two ways lead into the libraries, and they never meet:
//   - Kernels come from libggml-base alone, in this process: pure functions over rows, whose arguments are checked
//     before the call because ggml aborts the process on a wrong one.
//   - Everything that loads a model runs in a child (Start), which the binary is again with a hidden command; package
//     worker is its inside. A crash, an abort, an out-of-memory kill or a hang there is an Error here.
//
// Structures are passed to libllama by value, so another build than the pinned one would be silent corruption:
// llama_version is asked before anything else, and another answer is refused.
package llamacpp

// The build that everything was verified with.
const (
	// Version is the pinned release of llama.cpp.
	Version = "v0.5.0"
	// BaseVersion is what ggml_version of that release answers.
	BaseVersion = "0.25.1"
)

// answers lists what llama_version may say: the release was cut from a tree that calls itself "-dev".
var answers = []string{"0.5.0", "0.5.0-dev"}
