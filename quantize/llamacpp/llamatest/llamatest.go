// Package llamatest helps tests that need llama.cpp: the runtime or a skip with its reason, and the test binary as its
// own worker.
package llamatest

import (
	"context"
	"fmt"
	"os"
	"testing"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/worker"
)

// workerEnv makes a test binary serve as a worker instead of running tests.
const workerEnv = "QUERN_TEST_WORKER"

// Main runs the tests, or serves as the worker that Start of the same binary asked for. TestMain returns through it:
//
//	func TestMain(m *testing.M) { os.Exit(llamatest.Main(m)) }
func Main(m *testing.M) int {
	if os.Getenv(workerEnv) == "" {
		return m.Run()
	}
	if err := worker.Main(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Command starts the running test binary as a worker.
func Command() llamacpp.WorkerCommand {
	return llamacpp.WorkerCommand{Env: []string{workerEnv + "=1"}}
}

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

// Start starts a worker that ends with the test.
func Start(tb testing.TB) *llamacpp.Child {
	tb.Helper()
	c, err := llamacpp.Start(context.Background(), Runtime(tb), Command(), llamacpp.StartOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}
