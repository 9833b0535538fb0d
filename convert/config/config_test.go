package config

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"
)

// cases reads testdata/cases.jsonl.zst: one JSON object a line, as the reference's answers are kept: name,
// config, hparams, as_is, dir.
func cases(t testing.TB) []Object {
	t.Helper()
	packed, err := os.ReadFile("testdata/cases.jsonl.zst")
	if err != nil {
		t.Fatal(err)
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	text, err := d.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	var out []Object
	for line := range bytes.Lines(text) {
		v, err := Parse("cases.jsonl", line)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, v.(Object))
	}
	return out
}

func config(data []byte) fs.FS { return fstest.MapFS{file: {Data: data}} }

// load as the reference was run: the answers hold no private paths.
func load1(t testing.TB, c Object) *Config {
	t.Helper()
	raw, _ := c.Object("config")
	dir, ok := c.String("dir")
	if !ok {
		dir = "model"
	}
	got, err := New(raw, dir)
	if err != nil {
		t.Fatalf("%v: %v", c["name"], err)
	}
	return got
}

func TestConformance(t *testing.T) {
	families := map[string]bool{}
	all := cases(t)
	for _, c := range all {
		name, _ := c.String("name")
		families[strings.TrimSuffix(name, path.Ext(name))] = true
		t.Run(name, func(t *testing.T) {
			got := load1(t, c)
			want, _ := c.Object("hparams")
			asIs, _ := c.Bool("as_is")
			if got.AsIs != asIs {
				t.Errorf("as it is: %v (%s), want %v", got.AsIs, got.Why, asIs)
			}
			if diff := firstDiff("", withoutPath(want), withoutPath(got.Object)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if len(all) < 400 {
		t.Errorf("%d cases, want 400", len(all))
	}
	t.Logf("%d cases of %d model types", len(all), len(families))
}

// firstDiff names the first key in which two values differ; 1 and 1.0 differ.
func firstDiff(at string, want, got any) string {
	w, wok := want.(Object)
	g, gok := got.(Object)
	if wok && gok {
		for k := range w {
			if !g.Has(k) {
				return at + "." + k + ": missing, want " + text(w[k])
			}
			if d := firstDiff(at+"."+k, w[k], g[k]); d != "" {
				return d
			}
		}
		for k := range g {
			if !w.Has(k) {
				return at + "." + k + ": " + text(g[k]) + ", want none"
			}
		}
		return ""
	}
	if text(want) != text(got) {
		return at + ": " + text(got) + ", want " + text(want)
	}
	return ""
}

func text(v any) string {
	var b bytes.Buffer
	writeJSON(&b, v)
	return b.String()
}

func TestMissing(t *testing.T) {
	_, err := Load(fstest.MapFS{}, "x")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder without config.json: %v", err)
	}
	for _, bad := range []string{"", "[]", "{", "{}x", `{"a":}`, `{"a":1,}`, "\ufeff{}", "{\"a\":\"\xff\"}", `{"a":01}`, "{\"a\":\"\n\"}"} {
		if _, err := Load(config([]byte(bad)), "x"); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}
