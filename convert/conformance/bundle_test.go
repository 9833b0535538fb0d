package conformance

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"
)

func TestPackIsDeterministicAndComplete(t *testing.T) {
	folder := fstest.MapFS{"b/c.json": {Data: []byte("{}")}, "a": {Data: []byte("first")}, "empty": {}}
	dir := t.TempDir()
	if err := os.CopyFS(dir, folder); err != nil {
		t.Fatal(err)
	}
	var packed [2]bytes.Buffer
	for i, source := range []fs.FS{folder, os.DirFS(dir)} {
		if err := Pack(&packed[i], source); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(packed[0].Bytes(), packed[1].Bytes()) {
		t.Error("equal folders, different bundles")
	}
	tree, err := Unpack(&packed[0])
	if err != nil {
		t.Fatal(err)
	}
	if got, want := folderDigest(t, tree), folderDigest(t, folder); got != want {
		t.Errorf("unpacked %s, packed %s", got, want)
	}
}

func TestUnpackRefuses(t *testing.T) {
	for name, h := range map[string]tar.Header{
		"outside":   {Name: "../x", Typeflag: tar.TypeReg},
		"a link":    {Name: "x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
		"too large": {Name: "x", Typeflag: tar.TypeReg, Size: maxBundle + 1},
		"absolute":  {Name: "/x", Typeflag: tar.TypeReg},
	} {
		var b bytes.Buffer
		z, err := zstd.NewWriter(&b)
		if err != nil {
			t.Fatal(err)
		}
		if err := tar.NewWriter(z).WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Unpack(&b); err == nil || !strings.Contains(err.Error(), "x") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenCaseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":      `{`,
		"no shape":      `{"shards": {"m": [["w", "F32"]]}}`,
		"outside":       `{"shards": {"../m": []}}`,
		"not an object": `{"shards": [1]}`,
	} {
		if _, err := OpenCase(fstest.MapFS{"c/case.json": {Data: []byte(text)}}, "c"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	for name, tensor := range map[string]string{
		"huge":     `["w", "U8", [99999999999, 99999999999]]`,
		"negative": `["w", "U8", [-1]]`,
		"no type":  `["w", "Q4", [1]]`,
	} {
		c, err := OpenCase(fstest.MapFS{"c/case.json": {Data: []byte(`{"shards": {"m": [` + tensor + `]}}`)}}, "c")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Checkpoint(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
