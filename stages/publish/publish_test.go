package publish

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"

	"quern/pipeline"
	"quern/stages/record"
	"quern/stages/source"
)

// Every row of the table has an identifier of its own, a verdict that is known, and says what goes along unless nothing does.
func TestLicenceTable(t *testing.T) {
	rows := 0
	for line := range strings.Lines(licenceTable) {
		if !strings.HasPrefix(line, "#") {
			rows++
		}
	}
	if rows != len(known) || rows < 70 {
		t.Errorf("%d rows, %d identifiers", rows, len(known))
	}
	for id, l := range known {
		if l.verdict != "free" && l.verdict != "terms" && l.verdict != "never" || (l.verdict == "free") != (l.with == "") || id != strings.ToLower(id) {
			t.Errorf("%s: %+v", id, l)
		}
	}
	t.Logf("count: licences: %d identifiers", rows)
}

func TestMayPass(t *testing.T) {
	for _, tc := range []struct {
		licence Licence
		kind    source.Kind
		with    string
		says    string // of the refusal
	}{
		{Licence{ID: "apache-2.0"}, source.Hub, "", ""},
		{Licence{ID: "Apache-2.0"}, source.Hub, "", ""},
		{Licence{ID: "llama3.1"}, source.Hub, "its text and notice", ""},
		{Licence{ID: "other", Name: "llama3.1"}, source.Hub, "its text and notice", ""},
		{Licence{ID: "cc-by-nc-nd-4.0"}, source.Folder, "", "no changed copies"},
		{Licence{ID: "other", Name: "acme-terms"}, source.Hub, "", `"acme-terms"`},
		{Licence{ID: "unknown"}, source.Hub, "", "not known"},
		{Licence{}, source.Hub, "", "states no licence"},
		{Licence{}, source.Folder, "", ""},
	} {
		f := &Folder{Licence: tc.licence, Source: record.Origin{Model: "acme/tiny", Kind: tc.kind}}
		with, err := f.mayPass()
		var l *LicenceError
		if (tc.says != "") != errors.As(err, &l) || err != nil && !strings.Contains(err.Error(), tc.says) || !strings.Contains(with, tc.with) {
			t.Errorf("%+v: %q, %v", tc.licence, with, err)
		}
	}
}

func TestParse(t *testing.T) {
	for in, want := range map[string]Target{
		"hf:acme/x":                       {Hub, "acme/x", ""},
		"hf:acme/x@dev":                   {Hub, "acme/x", "dev"},
		"oci://ghcr.io/acme/x:Q4_K_M":     {Registry, "ghcr.io/acme/x", "Q4_K_M"},
		"oci://localhost:5000/acme/x":     {Registry, "localhost:5000/acme/x", ""},
		"oci://localhost:5000/acme/x:1.0": {Registry, "localhost:5000/acme/x", "1.0"},
		"dir:a:b":                         {Dir, "a:b", ""},
		"ollama:me/x:tag":                 {Ollama, "me/x", "tag"},
		"ollama:host:1/me/x":              {Ollama, "host:1/me/x", ""},
		"lmstudio:":                       {LMStudio, "", ""},
		"llama.cpp:me/x":                  {LlamaCpp, "me/x", ""},
	} {
		got, err := Parse(in)
		if err != nil || got != want || got.String() != in {
			t.Errorf("%s: %+v, %v, %s", in, got, err, got)
		}
	}
	for _, in := range []string{"", "x", "hf:", "hf:x", "hf:a/b/c", "hf:a--b/c", "hf:../x", "oci:ghcr.io/x", "oci://x", "oci://x/y:", "oci://x/y:a b", "dir:",
		"ollama:", "ollama:-x", "ollama:a/b/c/d", "lmstudio:x", "lmstudio:../x", "llama.cpp:a/b/c", "s3:x"} {
		var e *TargetError
		if got, err := Parse(in); in != "oci://x/y:" && !errors.As(err, &e) {
			t.Errorf("%q: %+v, %v", in, got, err)
		}
	}
}

// Without the program the error says where it is to be had; a dry run does not need it.
func TestNoOllama(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	f := &Folder{Models: []Model{{Receipt: &record.Receipt{Type: "Q8_0"}, Parts: []Asset{{Name: "x.gguf", Path: "x.gguf"}}}}}
	d, err := Send(context.Background(), f, Target{Ollama, "x", ""}, Options{DryRun: true}, pipeline.Discard{})
	if err != nil || len(d.Moves) != 1 || d.Moves[0].To != "x:q8_0" {
		t.Errorf("dry: %+v, %v", d, err)
	}
	_, err = Send(context.Background(), f, Target{Ollama, "x", ""}, Options{}, pipeline.Discard{})
	var p *ProgramError
	if !errors.As(err, &p) || !errors.Is(err, exec.ErrNotFound) || !strings.Contains(p.Hint(), "install") {
		t.Errorf("%v", err)
	}
	f.Models[0].Parts = append(f.Models[0].Parts, Asset{Name: "y.gguf"})
	if _, err = Send(context.Background(), f, Target{Ollama, "x", ""}, Options{}, pipeline.Discard{}); err == nil || !strings.Contains(err.Error(), "quern merge") {
		t.Errorf("in parts: %v", err)
	}
}

// FuzzParse: no target makes Parse panic, and what it takes it writes again.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"hf:acme/x@dev", "oci://localhost:5000/a/x:1", "ollama:me/x:tag", "lmstudio:", "dir:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := Parse(s)
		if err != nil {
			return
		}
		if b, err := Parse(a.String()); err != nil || a != b {
			t.Errorf("%q: %+v, written %q: %+v, %v", s, a, a.String(), b, err)
		}
	})
}
