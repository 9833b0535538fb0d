package corpus

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// TestPack writes the archive anew from the folder of the reference's answers that QUERN_PACK_CORPUS names.
func TestPack(t *testing.T) {
	root := os.Getenv("QUERN_PACK_CORPUS")
	if root == "" {
		t.Skip("QUERN_PACK_CORPUS names no folder with conformance/ and data/: nothing to pack")
	}
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithWindowSize(8<<20), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	add := func(path, name string) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o444, Format: tar.FormatUSTAR}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	src := os.DirFS(root + "/conformance")
	for _, dir := range []string{"tokenizers", "tokenizer"} {
		err := fs.WalkDir(src, dir, func(name string, e fs.DirEntry, err error) error {
			if err == nil && !e.IsDir() {
				add(root+"/conformance/"+name, name)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	add(root+"/data/pretokenizers.json", "pretokenizers.json")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("corpus.tar.zst", out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", out.Len())
}

// TestCorpus holds what the archive has to contain: a test over an empty list would pass.
func TestCorpus(t *testing.T) {
	src, err := FS()
	if err != nil {
		t.Fatal(err)
	}
	folders, err := fs.ReadDir(src, "tokenizers")
	if err != nil {
		t.Fatal(err)
	}
	answers, err := fs.Glob(src, "tokenizer/*.json")
	if err != nil {
		t.Fatal(err)
	}
	groups, texts, err := Texts()
	if err != nil {
		t.Fatal(err)
	}
	if len(folders) != 126 || len(answers) != 76 || len(texts) != 272 || len(groups) != 272 {
		t.Errorf("%d folders, %d answer files, %d texts; want 126, 76, 272", len(folders), len(answers), len(texts))
	}
}
