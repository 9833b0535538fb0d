package llamacpp

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// MemoryHint is what to do when memory ran out.
const MemoryHint = "choose a smaller type, a shorter context (--context) or a quantized cache (--kv q8_0), or keep off the GPU (--cpu), and close other programs; `quern machine` shows what is free"

const crashHint = "run `quern runtime status`; if the file was made by another program, `quern verify` it; report it with the log lines above"

// memoryWords are how llama.cpp, ggml's backends, their drivers and the systems say that memory ran out, in lower case.
var memoryWords = []string{
	"out of memory", "outofmemory", "failed to allocate", "cannot allocate memory", "unable to allocate", "insufficient memory", "bad_alloc", // systems, Metal, CUDA, HIP
	"recommended max working set size", "failed to create command queue", // Metal
	"cudaerrormemoryallocation", "alloc_failed", // CUDA and its libraries
	"outofdevicememory", "outofhostmemory", "outofpoolmemory", "device memory allocation of size", "exceeds device memory allocation limit", // Vulkan
	"out_of_device_memory", "out_of_host_memory", "cl_mem_object_allocation_failure", "cl_out_of_resources", // SYCL, OpenCL
}

// signals are how Go's runtime names a signal that arrived inside C code, on its way to exit status 2.
var signals = []string{"SIGSEGV", "SIGBUS", "SIGABRT", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS"}

// explain turns the end of a child that nobody stopped into an error: what killed it, by its status and its log.
func explain(state *os.ProcessState, last []string, log string) *Error {
	how := describeExit(state, log)
	e := &Error{Fault: Crashed, Says: "the worker died: " + how, Next: crashHint, Log: last}
	if said := lastWords(last); said != "" {
		e.Says += ": " + said
	}
	killed := strings.HasPrefix(how, "killed")
	if SaysMemory(log) || killed {
		e.Fault, e.Next = Memory, MemoryHint
	}
	if killed {
		e.Says += ", as a system does when memory runs out"
	}
	return e
}

func describeExit(state *os.ProcessState, log string) string {
	if ws, ok := state.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		if ws.Signal() == syscall.SIGKILL {
			return "killed (SIGKILL)"
		}
		return fmt.Sprintf("signal %d (%v)", int(ws.Signal()), ws.Signal())
	}
	for _, s := range signals {
		if strings.Contains(log, "[signal "+s) || strings.Contains(log, s+": ") {
			return "signal " + s
		}
	}
	return fmt.Sprintf("exit status %d", state.ExitCode())
}

// lastWords is the line of the log that says most: a failed assertion, or the last error.
func lastWords(lines []string) string {
	for i := len(lines) - 1; i >= 0; i-- {
		if l := lines[i]; strings.Contains(l, "GGML_ASSERT") || strings.Contains(l, "GGML_ABORT") || strings.Contains(l, "error:") || strings.Contains(l, "failed to") {
			return strings.TrimSpace(l)
		}
	}
	return ""
}

// SaysMemory tells whether a log of llama.cpp, a backend or the system speaks of memory that ran out.
func SaysMemory(log string) bool {
	log = strings.ToLower(log)
	for _, w := range memoryWords {
		if strings.Contains(log, w) {
			return true
		}
	}
	return false
}
