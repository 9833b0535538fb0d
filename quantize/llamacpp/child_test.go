package llamacpp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"quern/quantize/llamacpp"
)

func start(t *testing.T, fault string, o llamacpp.StartOptions) *llamacpp.Child {
	t.Helper()
	c, err := llamacpp.Start(context.Background(), &llamacpp.Runtime{}, worker(fault), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Whatever kills the child is a typed error with the last words, a hint, and the right kind.
func TestChildFaults(t *testing.T) {
	for _, c := range []struct {
		fault string
		kind  llamacpp.Fault
		says  string
	}{
		{"segv", llamacpp.Crashed, "signal SIGSEGV"},
		{"segv-signal", llamacpp.Crashed, "signal SIGSEGV"},
		{"abort", llamacpp.Crashed, "GGML_ASSERT(n_dims <= 4) failed"},
		{"kill", llamacpp.Memory, "SIGKILL"},
		{"memory", llamacpp.Memory, "failed to allocate buffer"},
		{"exit", llamacpp.Crashed, "exit status 7"},
		{"hang", llamacpp.Hung, "no progress for 200ms"},
		{"garbage", llamacpp.Protocol, "no frame"},
		{"not-json", llamacpp.Protocol, "not JSON"},
	} {
		t.Run(c.fault, func(t *testing.T) {
			o := llamacpp.StartOptions{}
			if c.fault == "hang" {
				o.Stall = 200 * time.Millisecond
			}
			child := start(t, c.fault, o)
			_, err := child.Load(context.Background(), llamacpp.ModelOptions{Path: "x.gguf"})
			var e *llamacpp.Error
			if !errors.As(err, &e) || !errors.Is(err, llamacpp.ErrRuntime) {
				t.Fatalf("got %v", err)
			}
			if e.Fault != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %s: %v", e.Fault, err)
			}
			if !strings.Contains(strings.Join(e.Detail(), "\n"), "the last words") {
				t.Errorf("log %q", e.Detail())
			}
			if e.Hint() == "" && c.kind != llamacpp.Protocol {
				t.Error("no hint")
			}
			if _, err := child.Load(context.Background(), llamacpp.ModelOptions{}); err == nil {
				t.Error("a dead child answers")
			}
			if child.PeakRSS() <= 0 {
				t.Error("no peak memory")
			}
		})
	}
}

// A refusal leaves the child alive.
func TestChildRefusal(t *testing.T) {
	child := start(t, "refuse", llamacpp.StartOptions{})
	for range 2 {
		_, err := child.Load(context.Background(), llamacpp.ModelOptions{Path: "x.gguf"})
		var e *llamacpp.Error
		if !errors.As(err, &e) || e.Fault != llamacpp.Refused || e.Says != "unknown model architecture" {
			t.Fatalf("got %v", err)
		}
	}
}

// Cancelling stops the child at once and returns the context's error.
func TestChildCancel(t *testing.T) {
	child := start(t, "hang", llamacpp.StartOptions{})
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if _, err := child.Load(ctx, llamacpp.ModelOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

// Close is safe at any time and more than once; lines of the log are handed on.
func TestChildClose(t *testing.T) {
	var lines []string
	child := start(t, "exit", llamacpp.StartOptions{Line: func(l string) { lines = append(lines, l) }})
	_, _ = child.Load(context.Background(), llamacpp.ModelOptions{})
	child.Close()
	child.Close()
	if len(lines) != 1 || lines[0] != "llama_model_load: the last words" {
		t.Errorf("lines %q", lines)
	}
}

// A program that is not there is an error, not a hang.
func TestStartMissing(t *testing.T) {
	_, err := llamacpp.Start(context.Background(), &llamacpp.Runtime{}, llamacpp.WorkerCommand{Path: filepath.Join(t.TempDir(), "none")}, llamacpp.StartOptions{})
	if !errors.Is(err, llamacpp.ErrRuntime) {
		t.Fatalf("got %v", err)
	}
}

// The child does not outlive a parent that is killed.
func TestOrphan(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pid")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), partEnv+"=parent", pidEnv+"="+pidFile)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	for range 1000 {
		b, err := os.ReadFile(pidFile)
		if pid, _ = strconv.Atoi(string(b)); err == nil && pid > 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if pid == 0 {
		t.Fatal("the child did not start")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	for range 1000 {
		if gone(pid) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("the child %d lives on", pid)
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// gone tells whether a process ended, also when nobody has waited for it yet.
func gone(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return true
	}
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && bytes.Contains(b, []byte(") Z"))
}

// Frames come back as they went, and a head that promises too much is refused before memory is taken.
func TestFrames(t *testing.T) {
	var b bytes.Buffer
	for _, n := range []int{0, 1, 4096, 4097, 1 << 20} {
		body := bytes.Repeat([]byte{7}, n)
		if err := llamacpp.WriteFrame(&b, llamacpp.FrameFloats, body); err != nil {
			t.Fatal(err)
		}
		kind, got, err := llamacpp.ReadFrame(&b, nil)
		if err != nil || kind != llamacpp.FrameFloats || !bytes.Equal(got, body) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if _, _, err := llamacpp.ReadFrame(&b, nil); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v", err)
	}
	if err := llamacpp.WriteFrame(io.Discard, llamacpp.FrameMessage, make([]byte, llamacpp.MaxFrame+1)); err == nil {
		t.Error("a frame over the bound was written")
	}
	v := []float32{0, -1.5, float32(math.Inf(1)), 1e-40}
	for i, x := range llamacpp.Floats(llamacpp.FloatBytes(v)) {
		if x != v[i] {
			t.Errorf("value %d is %v, want %v", i, x, v[i])
		}
	}
}

// Numbers that are not finite pass through JSON.
func TestNumber(t *testing.T) {
	for _, v := range []float64{0, -1.25e-300, math.Inf(1), math.Inf(-1), math.NaN()} {
		b, err := llamacpp.Number(v).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var got llamacpp.Number
		if err := got.UnmarshalJSON(b); err != nil || math.Float64bits(float64(got)) != math.Float64bits(v) && !math.IsNaN(v) {
			t.Errorf("%v became %v (%s), %v", v, got, b, err)
		}
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("M\x02\x00\x00\x00{}"))
	f.Add([]byte("F\xff\xff\xff\xff"))
	f.Add([]byte("M\x05\x00\x00\x00ab"))
	f.Add([]byte("printf\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, body, err := llamacpp.ReadFrame(bytes.NewReader(b), nil)
		if err == nil && len(body) > len(b) {
			t.Fatalf("%d bytes out of %d", len(body), len(b))
		}
	})
}

// However a backend or its driver words it, memory that ran out is recognised; other failures of a GPU are not taken for it.
func TestMemoryTexts(t *testing.T) {
	memory := map[string]string{
		"Metal, command buffer":   "ggml_metal_synchronize: error: command buffer 0 failed with status 5\nerror: Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
		"Metal, buffer":           "ggml_backend_metal_buffer_type_alloc_buffer: error: failed to allocate buffer, size = 9500.00 MiB",
		"Metal, working set":      "ggml_metal_log_allocated_size: warning: current allocated size is greater than the recommended max working set size",
		"CUDA, malloc":            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 9500.00 MiB on device 0: cudaMalloc failed: out of memory",
		"CUDA, kernel":            "CUDA error: out of memory\n  current device: 0, in function alloc at ggml-cuda.cu:523",
		"CUDA, cuBLAS":            "CUDA error: CUBLAS_STATUS_ALLOC_FAILED",
		"CUDA, runtime":           "cudaErrorMemoryAllocation",
		"HIP":                     "hipErrorOutOfMemory",
		"Vulkan, exception":       "terminate called after throwing an instance of 'vk::OutOfDeviceMemoryError'\n  what():  vk::Device::allocateMemory: ErrorOutOfDeviceMemory",
		"Vulkan, size":            "ggml_vulkan: Device memory allocation of size 9961472000 failed.",
		"Vulkan, limit":           "ggml_vulkan: Requested buffer size exceeds device memory allocation limit: ErrorOutOfDeviceMemory",
		"SYCL":                    "UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY",
		"OpenCL":                  "CL_MEM_OBJECT_ALLOCATION_FAILURE",
		"llama.cpp, cache":        "llama_init_from_model: failed to initialize the context: failed to allocate buffer for kv cache",
		"C++":                     "terminate called after throwing an instance of 'std::bad_alloc'",
		"Linux":                   "mmap failed: Cannot allocate memory",
		"ggml, host":              "ggml_aligned_malloc: insufficient memory (attempted to allocate 9500.00 MB)",
		"Metal, no command queue": "ggml_metal_init: error: failed to create command queue",
	}
	for name, log := range memory {
		if !llamacpp.SaysMemory(log) {
			t.Errorf("%s: not recognised: %s", name, log)
		}
	}
	for _, log := range []string{
		"error: Caused GPU Timeout Error (00000002:kIOGPUCommandBufferCallbackErrorTimeout)", "CUDA error: an illegal memory access was encountered", "vk::DeviceLostError", "GGML_ASSERT(buffer) failed",
	} {
		if llamacpp.SaysMemory(log) {
			t.Errorf("taken for a lack of memory: %s", log)
		}
	}
	t.Logf("count: %d texts of Metal, CUDA, HIP, Vulkan, SYCL, OpenCL and systems say that memory ran out", len(memory))
}
