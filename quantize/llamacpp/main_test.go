package llamacpp_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/llamatest"
)

// Environment variables by which this test binary plays parts other than the test.
const (
	partEnv = "QUERN_TEST_PART" // "parent", or a fault of a false worker
	pidEnv  = "QUERN_TEST_PID"  // where the false worker writes its process id
)

func TestMain(m *testing.M) {
	switch part := os.Getenv(partEnv); part {
	case "":
		os.Exit(llamatest.Main(m))
	case "parent":
		os.Exit(parent())
	default:
		os.Exit(falseWorker(part))
	}
}

// falseWorker answers the opening like a real one and does harm at the next request.
func falseWorker(fault string) int {
	in, out := bufio.NewReader(os.NewFile(3, "requests")), os.NewFile(4, "answers")
	answer := func(m llamacpp.Message) {
		b, _ := json.Marshal(m)
		_ = llamacpp.WriteFrame(out, llamacpp.FrameMessage, b)
	}
	if p := os.Getenv(pidEnv); p != "" {
		_ = os.WriteFile(p, []byte(strconv.Itoa(os.Getpid())), 0o600)
	}
	for n := 0; ; n++ {
		if _, _, err := llamacpp.ReadFrame(in, nil); err != nil {
			return 0
		}
		if n == 0 {
			answer(llamacpp.Message{Result: json.RawMessage(`{"version":"false"}`)})
			continue
		}
		fmt.Fprintln(os.Stderr, "llama_model_load: the last words")
		harm(fault, out)
	}
}

func harm(fault string, out *os.File) {
	self := os.Getpid()
	switch fault {
	case "segv":
		*(*int)(nil) = 1
	case "segv-signal":
		syscall.Kill(self, syscall.SIGSEGV)
	case "kill":
		syscall.Kill(self, syscall.SIGKILL)
	case "abort":
		fmt.Fprintln(os.Stderr, "ggml.c:1234: GGML_ASSERT(n_dims <= 4) failed")
		syscall.Kill(self, syscall.SIGABRT)
	case "memory":
		fmt.Fprintln(os.Stderr, "ggml_metal_buffer: error: failed to allocate buffer, size = 9000.00 MiB")
		syscall.Kill(self, syscall.SIGABRT)
	case "exit":
		os.Exit(7)
	case "garbage":
		fmt.Fprint(out, "printf into the wrong pipe, and more of it than a head has bytes")
	case "not-json":
		_ = llamacpp.WriteFrame(out, llamacpp.FrameMessage, []byte("{"))
	case "refuse":
		b, _ := json.Marshal(llamacpp.Message{Failure: &llamacpp.Failure{Fault: llamacpp.Refused, Op: "load", On: "x.gguf", Says: "unknown model architecture"}})
		_ = llamacpp.WriteFrame(out, llamacpp.FrameMessage, b)
		return
	}
	time.Sleep(time.Hour)
}

// parent starts a false worker that hangs, and hangs itself until it is killed.
func parent() int {
	c, err := llamacpp.Start(context.Background(), &llamacpp.Runtime{}, worker("hang"), llamacpp.StartOptions{})
	if err != nil {
		return 1
	}
	_, _ = c.Load(context.Background(), llamacpp.ModelOptions{})
	return 0
}

func worker(fault string) llamacpp.WorkerCommand {
	return llamacpp.WorkerCommand{Env: []string{partEnv + "=" + fault}}
}
