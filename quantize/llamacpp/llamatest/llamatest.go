// Package llamatest helps tests that need llama.cpp: the runtime or a skip with its reason, and a small real model.
package llamatest

import (
	"testing"

	"quern/quantize/llamacpp"
)

// Runtime is the installed runtime; without one the test is skipped and says why. With QUERN_LLAMA_LIB or an install
// in the data directory it runs.
func Runtime(tb testing.TB) *llamacpp.Runtime {
	tb.Helper()
	rt, err := llamacpp.Find(llamacpp.FindOptions{})
	if err != nil {
		tb.Skipf("needs the llama.cpp runtime: %v", err)
	}
	return rt
}

// Kernels are the installed runtime's quantization kernels; without one the test is skipped and says why.
func Kernels(tb testing.TB) *llamacpp.Kernels {
	tb.Helper()
	k, err := llamacpp.OpenKernels(Runtime(tb))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}
