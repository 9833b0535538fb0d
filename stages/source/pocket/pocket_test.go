package pocket

import (
	"io"
	"testing"
	"testing/fstest"
)

func TestFS(t *testing.T) {
	src, err := FS()
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(src, "config.json", "model.safetensors", "tokenizer.json", "tokenizer.model", HeldOut); err != nil {
		t.Error(err)
	}
	f, err := src.Open("model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := f.(io.ReaderAt); !ok {
		t.Error("files cannot be read by range")
	}
}
