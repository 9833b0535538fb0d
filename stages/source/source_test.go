package source

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
)

func TestParse(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, d := range []string{"llama", "org/local"} {
		if err := os.MkdirAll(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("tiny.gguf", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		arg  string
		want Source
	}{
		{"pocket", Source{Kind: Builtin, Name: "pocket"}},
		{"llama", Source{Kind: Folder, Name: "llama", Path: filepath.Join(dir, "llama")}},
		{"./llama/", Source{Kind: Folder, Name: "llama", Path: filepath.Join(dir, "llama")}},
		{"org/local", Source{Kind: Folder, Name: "local", Path: filepath.Join(dir, "org/local")}},
		{"tiny.gguf", Source{Kind: GGUF, Name: "tiny", Path: "tiny.gguf"}},
		{"Qwen/Qwen3-0.6B", Source{Kind: Hub, Name: "Qwen3-0.6B", Repo: "Qwen/Qwen3-0.6B"}},
		{"Qwen/Qwen3-0.6B@refs/pr/4", Source{Kind: Hub, Name: "Qwen3-0.6B", Repo: "Qwen/Qwen3-0.6B", Revision: "refs/pr/4"}},
		{"gpt2", Source{Kind: Hub, Name: "gpt2", Repo: "gpt2"}},
		{"hf:org/local", Source{Kind: Hub, Name: "local", Repo: "org/local"}},
		{"hf:org/local@v1", Source{Kind: Hub, Name: "local", Repo: "org/local", Revision: "v1"}},
		{"hf:org/name/a-BF16.gguf", Source{Kind: Hub, Name: "a-BF16", Repo: "org/name", File: "a-BF16.gguf"}},
		{"hf:org/name@refs/pr/4/BF16/a.GGUF", Source{Kind: Hub, Name: "a", Repo: "org/name", Revision: "refs/pr/4", File: "BF16/a.GGUF"}},
	} {
		got, err := Parse(c.arg)
		if err != nil {
			t.Errorf("%s: %v", c.arg, err)
			continue
		}
		got.Arg, got.FS = "", nil
		if *got != c.want {
			t.Errorf("%s: %+v, want %+v", c.arg, *got, c.want)
		}
	}
	for _, arg := range []string{"./missing", "missing.gguf", "/no/such/dir", "a/b/c", "a/b/c.gguf", "hf:a/b/c", "hf:./a", "hf:"} {
		if _, err := Parse(arg); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

// A file that is open reads from the new file system once it is exchanged.
func TestSwitch(t *testing.T) {
	s := NewSwitch(fstest.MapFS{"a": {Data: []byte("remote")}})
	f, err := s.Open("a")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	read := func() string {
		b := make([]byte, 3)
		if _, err := f.(io.ReaderAt).ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if got := read(); got != "rem" {
		t.Errorf("before: %q", got)
	}
	s.Use(fstest.MapFS{"a": {Data: []byte("local")}})
	if got := read(); got != "loc" {
		t.Errorf("after: %q", got)
	}
	s.Use(fstest.MapFS{})
	if _, err := f.(io.ReaderAt).ReadAt(make([]byte, 1), 0); err == nil {
		t.Error("a file that is gone was read")
	}
}
