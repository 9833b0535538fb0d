package smoke_test

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"quern/convert/tokenizer"
	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/llamatest"
	"quern/stages/pockettest"
	"quern/stages/smoke"
	"quern/stages/source/pocket"
)

func options(path string) smoke.Options {
	return smoke.Options{Model: llamacpp.ModelOptions{Path: path}, Context: llamacpp.ContextOptions{Threads: 1}}
}

func try(t *testing.T, o smoke.Options) *smoke.Report {
	t.Helper()
	r, err := smoke.Try(context.Background(), llamatest.Start(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// encoded are texts and their ids by quern's own engine.
func encoded(t *testing.T) []smoke.Encoded {
	t.Helper()
	folder, err := pocket.FS()
	if err != nil {
		t.Fatal(err)
	}
	data, err := fs.ReadFile(folder, "tokenizer.json")
	if err != nil {
		t.Fatal(err)
	}
	tk, err := tokenizer.Load(data)
	if err != nil {
		t.Fatal(err)
	}
	var out []smoke.Encoded
	for _, text := range []string{"In the beginning", "Prince Andrew, 1805!", "two  blanks\nand a line", "naïve — Ünïcödé 漢字 🙂", "x\ty"} {
		ids, err := tk.Encode(text, false) // what stands around a text is tokenizer_config.json's matter
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, smoke.Encoded{Text: text, IDs: ids})
	}
	return out
}

// A sound file passes every check, also against its source, and says what was measured.
func TestSoundFiles(t *testing.T) {
	paths := pockettest.Files(t, "BF16", "Q8_0", "Q4_K_M", "Q2_K")
	for _, p := range paths[1:] {
		o := options(p)
		o.Source, o.Encoded = paths[0], encoded(t)
		r := try(t, o)
		if err := r.Err(p); err != nil {
			t.Error(err)
		}
		for _, c := range r.Checks {
			t.Logf("%-8s %-12s %-7s %s", filepath.Base(p)[7:], c.Name, c.State, c.Value)
		}
		if r.Count(smoke.Passed) != 9 || r.Text == "" || r.SameTop < 0.7 || r.PeakRSS == 0 {
			t.Errorf("%s: %d checks passed, text %q, same top %v, peak %d", p, r.Count(smoke.Passed), r.Text, r.SameTop, r.PeakRSS)
		}
		if !strings.HasPrefix(r.Summary(), "9 checks: load, tokens, logits, repetition, utf-8, state, end, perplexity ") {
			t.Errorf("summary %q", r.Summary())
		}
	}
}

// Without a source and without ids the two checks that need them say so, or do what can be done.
func TestWithoutCompany(t *testing.T) {
	path := pockettest.Files(t, "Q8_0")[0]
	r := try(t, options(path))
	if err := r.Err(path); err != nil {
		t.Error(err)
	}
	if r.Count(smoke.Skipped) != 1 {
		t.Errorf("%d checks skipped, the comparison with the source is one: %+v", r.Count(smoke.Skipped), r.Checks)
	}
}

// Only the checks that were asked for are made; a name that does not fit the model says so, and one that is none is refused.
func TestChosenChecks(t *testing.T) {
	path := pockettest.Files(t, "Q8_0")[0]
	for list, want := range map[string]string{
		"load,tokens,logits": "load ok, tokens ok, logits ok",
		"perplexity":         "perplexity ok",
		"untrained,ranking":  "load ok, tokens ok, logits ok, state ok, end ok, source skipped, ranking skipped",
	} {
		o := options(path)
		var err error
		if o.Checks, err = smoke.ParseChecks(list); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range try(t, o).Checks {
			got = append(got, c.Name+" "+string(c.State))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("--checks %s: %v, want %s", list, got, want)
		}
	}
	var unknown *smoke.UnknownCheckError
	if _, err := smoke.ParseChecks("load,beauty"); !errors.As(err, &unknown) || !strings.Contains(unknown.Hint(), "perplexity") {
		t.Errorf("got %v", err)
	}
}
