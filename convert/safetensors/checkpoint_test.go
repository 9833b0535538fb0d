package safetensors

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// shard is a file with these one-byte tensors.
func shard(names ...string) []byte {
	var parts []string
	for i, n := range names {
		parts = append(parts, fmt.Sprintf(`%q:{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}`, n, i, i+1))
	}
	return file("{"+strings.Join(parts, ",")+"}", len(names))
}

// folder writes files below a temporary folder, since a checkpoint's files must be readable at an offset.
func folder(t *testing.T, files map[string][]byte) fs.FS {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return os.DirFS(dir)
}

const indexName = "model.safetensors.index.json"

func TestOpen(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string][]byte
		want  string // "file/tensor ..." in order, or what the error says
		fails bool
	}{
		"single": {files: map[string][]byte{"model.safetensors": shard("b", "a")}, want: "model.safetensors/a model.safetensors/b"},
		"parts without an index": {files: map[string][]byte{"model-00002-of-00002.safetensors": shard("a"), "model-00001-of-00002.safetensors": shard("z"), "other.safetensors": shard("q")},
			want: "model-00001-of-00002.safetensors/z model-00002-of-00002.safetensors/a"},
		"index": {files: map[string][]byte{indexName: []byte(`{"metadata":{"total_size":[{"x":1}]},"weight_map":{"b":"x2","a":"sub/x1"}}`), "x2": shard("b"), "sub/x1": shard("a"), "model.safetensors": shard("ignored")},
			want: "sub/x1/a x2/b"},
		"index names another part": {files: map[string][]byte{indexName: []byte(`{"weight_map":{"b":"x1","a":"x2"}}`), "x1": shard("a"), "x2": shard("b")}, want: "x1/a x2/b"},
		"index: part missing":      {files: map[string][]byte{indexName: []byte(`{"weight_map":{"b":"x1","a":"x2"}}`), "x1": shard("b")}, want: `its weight_map names "x2", which is missing`, fails: true},
		"index: tensor missing":    {files: map[string][]byte{indexName: []byte(`{"weight_map":{"b":"x1","a":"x1"}}`), "x1": shard("b")}, want: `x1: tensor "a": model.safetensors.index.json promises it here`, fails: true},
		"index: tensor too many":   {files: map[string][]byte{indexName: []byte(`{"weight_map":{"b":"x1"}}`), "x1": shard("b", "c")}, want: `x1: tensor "c": model.safetensors.index.json does not list it`, fails: true},
		"index: listed twice":      {files: map[string][]byte{indexName: []byte(`{"weight_map":{"b":"x1","b":"x2"}}`), "x1": shard("b")}, want: `tensor "b": the index lists it twice`, fails: true},
		"index: empty":             {files: map[string][]byte{indexName: []byte(`{"weight_map":{}}`), "model.safetensors": shard("b")}, want: "no \"weight_map\"", fails: true},
		"index: none":              {files: map[string][]byte{indexName: []byte(`{}`)}, want: "no \"weight_map\"", fails: true},
		"index: twice":             {files: map[string][]byte{indexName: []byte(`{"weight_map":{"a":"b"},"weight_map":{"a":"c"}}`)}, want: "twice", fails: true},
		"index: parent":            {files: map[string][]byte{indexName: []byte(`{"weight_map":{"a":"../x"}}`)}, want: `its part "../x" is not a plain path`, fails: true},
		"index: absolute":          {files: map[string][]byte{indexName: []byte(`{"weight_map":{"a":"/etc/x"}}`)}, want: "is not a plain path", fails: true},
		"index: drive":             {files: map[string][]byte{indexName: []byte(`{"weight_map":{"a":"C:x"}}`)}, want: "holds the character ':'", fails: true},
		"index: not JSON":          {files: map[string][]byte{indexName: []byte(`weight_map`)}, want: "not valid JSON", fails: true},
		"variant":                  {files: map[string][]byte{"model.fp16.safetensors": shard("a", "b"), "model.safetensors": shard("a", "b", "c")}, want: "model.safetensors/a model.safetensors/b model.safetensors/c"},
		"more than variant":        {files: map[string][]byte{"model.fp16.safetensors": shard("a", "d"), "model.safetensors": shard("a", "b")}, want: "it also stands in", fails: true},
		"later variant":            {files: map[string][]byte{"model.safetensors": shard("a"), "model_2.safetensors": shard("a")}, want: "it also stands in", fails: true},
		"beside the whole":         {files: map[string][]byte{"model-mtp.safetensors": shard("z"), "model.safetensors": shard("a")}, want: "model-mtp.safetensors/z model.safetensors/a"},
		"tensor in two parts":      {files: map[string][]byte{"model-1.safetensors": shard("a"), "model-2.safetensors": shard("a")}, want: `model-2.safetensors: tensor "a": it also stands in "model-1.safetensors"`, fails: true},
		"damaged part":             {files: map[string][]byte{"model-1.safetensors": shard("a"), "model-2.safetensors": {1}}, want: "model-2.safetensors: the file has 1 bytes", fails: true},
		"nothing":                  {files: map[string][]byte{"pytorch_model.bin": {1}, "config.json": {1}}, want: "only pytorch_model.bin", fails: true},
	} {
		c2, err := Open(folder(t, c.files))
		if c.fails {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v, want %q", name, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, x := range c2.Tensors() {
			got = append(got, x.Shard.Name+"/"+x.Name)
			if y, ok := c2.Lookup(x.Name); !ok || y.Offset != x.Offset {
				t.Errorf("%s: %s is not found", name, x.Name)
			}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", name, got, c.want)
		}
		if (len(c2.Notes) > 0) != (name == "index names another part" || name == "variant") || c2.Bytes() != int64(len(got)) {
			t.Errorf("%s: notes %v, %d bytes", name, c2.Notes, c2.Bytes())
		}
		if err := c2.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
}

func TestOpenFamilies(t *testing.T) {
	src := folder(t, map[string][]byte{"consolidated.safetensors": shard("tok"), "draft/model.safetensors": shard("d")})
	if c, err := OpenFamily(src, Consolidated); err != nil || len(c.Tensors()) != 1 {
		t.Errorf("consolidated: %v", err)
	}
	_, err := Open(src)
	var none *NotFoundError
	if !errors.As(err, &none) || !errors.Is(err, fs.ErrNotExist) || none.Hint() == "" {
		t.Errorf("model: %v", err)
	}
	if c, err := OpenFiles(src, "draft/model.safetensors", "consolidated.safetensors"); err != nil || c.Tensors()[0].Name != "d" {
		t.Errorf("files: %v", err)
	}
}

// An index that was read maps names to plain paths and no name twice.
func FuzzReadIndex(f *testing.F) {
	for _, s := range []string{`{"weight_map":{"a":"model-1.safetensors"}}`, `{"metadata":[[[{}]]],"weight_map":{"a":"b","a":"c"}}`, `{"weight_map":{"a":"..\\b"}}`, `{"weight_map":7}`, "{\"\xff\":1}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ReadIndex("i", bytes.NewReader(data))
		if err != nil {
			var bad *FormatError
			if !errors.As(err, &bad) {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		for _, part := range m {
			if !fs.ValidPath(part) || strings.ContainsAny(part, "\\:") {
				t.Fatalf("part %q", part)
			}
		}
	})
}
