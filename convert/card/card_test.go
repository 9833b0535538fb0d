package card

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/gguf"
)

// answers reads a list of cases; see TestConformance for their fields.
func answers(t testing.TB, name string) []config.Object {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	v, err := config.Parse(name, data)
	if err != nil {
		t.Fatal(err)
	}
	var out []config.Object
	for _, e := range v.([]any) {
		out = append(out, e.(config.Object))
	}
	return out
}

// input makes the sources that a case describes.
func input(t testing.TB, c config.Object) Input {
	t.Helper()
	p, _ := c.Ints("params")
	in := Input{Params: Params{p[0], p[1], p[2], p[3]}}
	in.Folder, _ = c.String("dir")
	if name, ok := c.String("model_name"); ok {
		in.ModelName = &name
	}
	files := fstest.MapFS{}
	add := func(name string, v any) {
		if s, ok := v.(string); ok {
			files[name] = &fstest.MapFile{Data: []byte(s)}
		}
	}
	add(readme, c["card"])
	add(generation, c["generation_config"])
	raw, _ := c.Object("config")
	if all, ok := c.Object("files"); ok {
		for name := range all {
			add(name, all[name])
		}
		v, err := config.Parse("config.json", files["config.json"].Data)
		if err != nil {
			t.Fatal(err)
		}
		raw = v.(config.Object)
	}
	if o, ok := c.Object("override"); ok {
		in.Override, _ = o.MarshalJSON()
	}
	in.Source, in.Config = files, &config.Config{Raw: raw}
	return in
}

func show(kv gguf.KV) string { return fmt.Sprintf("%s = %T %v", kv.Key, kv.Value, kv.Value) }

// want turns an entry of an answer into what it must be: [key, type, value], floats as bits, long texts as a hash.
func same(t testing.TB, want []any, got gguf.KV) bool {
	t.Helper()
	key, _ := want[0].(string)
	kind, _ := want[1].(string)
	typed := map[string]string{"str": "string", "u32": "uint32", "i32": "int32", "f32": "float32", "arr:str": "[]string",
		"arr:i32": "[]int32", "arr:bool": "[]bool", "arr:f32": "[]float32"}[kind]
	if key != got.Key || typed != fmt.Sprintf("%T", got.Value) {
		return false
	}
	switch w := want[2].(type) {
	case config.Object:
		s, _ := got.Value.(string)
		sum := sha256.Sum256([]byte(s))
		return w["bytes"] == int64(len(s)) && w["sha256"] == hex.EncodeToString(sum[:])
	case string:
		if f, ok := got.Value.(float32); ok {
			return w == fmt.Sprintf("0x%08x", math.Float32bits(f))
		}
	}
	return fmt.Sprint(want[2]) == fmt.Sprint(got.Value)
}

func compare(t testing.TB, c config.Object, got []gguf.KV) {
	t.Helper()
	want, _ := c.List("expected")
	for i := range max(len(want), len(got)) {
		switch {
		case i >= len(got):
			t.Errorf("missing: %v", want[i])
		case i >= len(want):
			t.Errorf("too much: %s", show(got[i]))
		case !same(t, want[i].([]any), got[i]):
			t.Errorf("%s, want %v", show(got[i]), want[i])
		default:
			continue
		}
		return
	}
}

// TestConformance replays the reference: dir, params, config, card, generation_config, override, model_name give
// expected and file, or error. With Strict an error is an error; without, it is a warning that names the file (in
// an override file it stays an error). own.json has random names, sampling defaults and cards that the reference
// was asked about as well.
func TestConformance(t *testing.T) {
	total := 0
	for _, file := range []string{"names.json", "cards.json", "generation.json", "override.json", "own.json"} {
		cases := answers(t, file)
		total += len(cases)
		t.Logf("%s: %d cases", file, len(cases))
		for i, c := range cases {
			name, ok := c.String("name")
			if !ok {
				name = fmt.Sprint(i, c["dir"])
			}
			t.Run(file+"/"+name, func(t *testing.T) {
				in := input(t, c)
				if c.Has("error") {
					checkError(t, in)
					return
				}
				for _, in.Strict = range []bool{true, false} {
					kvs, info, err := Metadata(in)
					if err != nil {
						t.Fatal(err)
					}
					compare(t, c, kvs)
					if got := info.Parts.FileName("bf16", in.Params.Total < 0); got != c["file"] {
						t.Errorf("file %q, want %q", got, c["file"])
					}
				}
			})
		}
	}
	if total < 175 {
		t.Errorf("%d cases, want 175 and our own", total)
	}
}

func checkError(t *testing.T, in Input) {
	t.Helper()
	in.Strict = true
	_, _, err := Metadata(in)
	var bad *fault.Invalid
	if !errors.As(err, &bad) || bad.On == "" {
		t.Errorf("no error that names its place, but %v", err)
	}
	t.Log(err)
	in.Strict = false
	kvs, info, err := Metadata(in)
	if in.Override != nil {
		if !errors.As(err, &bad) {
			t.Errorf("a wrong override file gives %v", err)
		}
		return
	}
	if err != nil || len(info.Warnings) == 0 {
		t.Fatalf("error %v, warnings %v", err, info.Warnings)
	}
	t.Log(info.Warnings)
	if !strings.HasPrefix(info.Warnings[0], readme+":") && !strings.HasPrefix(info.Warnings[0], generation) {
		t.Errorf("the warning names no place: %s", info.Warnings[0])
	}
	if len(kvs) < 2 {
		t.Errorf("only %v is left", kvs)
	}
}

// TestWholeFiles checks the general.* entries of whole converted files; config.json is theirs too.
func TestWholeFiles(t *testing.T) {
	cases := answers(t, "whole.json")
	t.Logf("%d files", len(cases))
	for _, c := range cases {
		t.Run(fmt.Sprint(c["name"]), func(t *testing.T) {
			kvs, info, err := Metadata(input(t, c))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, c, kvs)
			if len(info.Warnings) > 0 {
				t.Error(info.Warnings)
			}
		})
	}
}
