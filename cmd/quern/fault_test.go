package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// befall makes the inference process of a script suffer what C code, the system or a GPU may do to it, at its start or, with the
// work begun, a moment later.
func befall(fault string) {
	signals := map[string]syscall.Signal{"segv": syscall.SIGSEGV, "abort": syscall.SIGABRT, "kill": syscall.SIGKILL, "hang": syscall.SIGSTOP}
	words := map[string]string{
		"gpu-memory": "ggml_metal_graph_compute: command buffer 0 failed with status 5\nerror: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
		"abort":      "ggml.c:1717: GGML_ASSERT(n_dims <= 4) failed",
	}
	if fault == "" {
		return
	}
	if w := words[fault]; w != "" {
		fmt.Fprintln(os.Stderr, w)
	}
	fmt.Fprintln(os.Stderr, "ggml: the last words")
	sig, ok := signals[fault]
	if !ok {
		sig = syscall.SIGABRT
	}
	go func() {
		time.Sleep(20 * time.Millisecond)
		syscall.Kill(os.Getpid(), sig) //nolint:errcheck // a process may signal itself
	}()
	time.Sleep(time.Second) // it never gets further
}
