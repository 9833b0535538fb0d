package worker

import (
	"slices"
	"strings"
	"testing"

	"quern/quantize/llamacpp"
)

// Lines arrive in pieces; buffers are read out of them; only the running request's lines explain a failure.
func TestLogBook(t *testing.T) {
	var b logBook
	b.write("load_tensors:   CPU_Mapped model buffer size =   123.50 MiB\nllama_kv_cache:      Metal KV buf")
	b.write("fer size =     1.00 MiB\nunrelated\n")
	want := []llamacpp.Buffer{{Device: "CPU_Mapped", Use: "model", Bytes: 129499136}, {Device: "Metal", Use: "KV", Bytes: 1 << 20}}
	if got := b.takeBuffers(); !slices.Equal(got, want) {
		t.Errorf("buffers %v", got)
	}
	if got := b.takeBuffers(); len(got) != 0 {
		t.Errorf("buffers twice: %v", got)
	}
	b.mark()
	if got := b.reason("nothing said"); got != "nothing said" {
		t.Errorf("an earlier request's line explains: %q", got)
	}
	b.write("llama_model_load: error loading model: unknown model architecture: 'foo'\nllama_model_load_from_file_impl: failed to load model\n")
	if got := b.reason(""); got != "unknown model architecture: 'foo'" {
		t.Errorf("reason %q", got)
	}
	if b.faultOf() != llamacpp.Refused || b.advice() != "" {
		t.Error("a wrong file is taken for a lack of memory")
	}
	b.write("ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 9000000000\n")
	if b.faultOf() != llamacpp.Memory || b.advice() == "" {
		t.Error("a lack of memory is not recognised")
	}
	for range 3 * keptLines {
		b.write("line\n")
	}
	if len(b.all()) > keptLines || len(b.last()) > shownLines {
		t.Errorf("%d lines kept, %d shown", len(b.all()), len(b.last()))
	}
}

func TestMetalFlag(t *testing.T) {
	notes := strings.Split("ggml_metal_device_init: GPU name:   Apple M5\nggml_metal_device_init: has bfloat            = true\nggml_metal_device_init: has tensor            = false", "\n")
	if got := metalFlag(notes, "has tensor"); got != "false" {
		t.Errorf("got %q", got)
	}
	if got := metalFlag(notes[:1], "has tensor"); got != "" {
		t.Errorf("got %q", got)
	}
}
