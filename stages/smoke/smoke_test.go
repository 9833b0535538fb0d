package smoke_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quern/convert/gguf"
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

// spoiler changes the bytes of a file as a wrong conversion would.
type spoiler func(t *testing.T, f *gguf.File, b []byte) []byte

// patch writes value over the first value of a key; the types must agree in size.
func patch(key string, value any) spoiler {
	return func(t *testing.T, _ *gguf.File, b []byte) []byte {
		t.Helper()
		head := binary.LittleEndian.AppendUint64(nil, uint64(len(key)))
		at := bytes.Index(b, append(head, key...))
		if at < 0 {
			t.Fatalf("no key %s", key)
		}
		at += 8 + len(key) + 4
		if _, err := binary.Encode(b[at:], binary.LittleEndian, value); err != nil {
			t.Fatal(err)
		}
		return b
	}
}

func bytesOf(t *testing.T, f *gguf.File, b []byte, name string) []byte {
	t.Helper()
	for _, o := range f.Outputs {
		if o.Name == name {
			return b[f.DataOffset+o.Offset:][:o.Size]
		}
	}
	t.Fatalf("no tensor %s", name)
	return nil
}

// halves swaps the two halves of every head's rows, as a query or key that was not permuted for llama.cpp's rotation.
func halves(t *testing.T, f *gguf.File, b []byte) []byte {
	const width, head = 256, 32
	row := int(gguf.Q8_0.RowBytes(width))
	for layer := range 5 {
		for _, name := range []string{"attn_q", "attn_k"} {
			data := bytesOf(t, f, b, "blk."+string(rune('0'+layer))+"."+name+".weight")
			for h := 0; h < len(data)/row/head; h++ {
				block := data[h*head*row:][:head*row]
				old := bytes.Clone(block)
				for i := range head { // rows 0,1,2,... become 0,2,4,...,1,3,5,...
					copy(block[i*row:], old[(i%(head/2)*2+i/(head/2))*row:][:row])
				}
			}
		}
	}
	return b
}

// A spoiled file is caught by the check that knows its failure.
func TestSpoiledFiles(t *testing.T) {
	path := pockettest.Files(t, "Q8_0")[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Read(path, bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	nan := math.Float32frombits(0x7fc00000)
	for _, c := range []struct {
		name   string
		spoil  spoiler
		caught string
	}{
		{"truncated data", func(_ *testing.T, _ *gguf.File, b []byte) []byte { return b[:len(b)-4096] }, "load"},
		{"truncated header", func(_ *testing.T, _ *gguf.File, b []byte) []byte { return b[:1000] }, "load"},
		{"wrong head count", patch("llama.attention.head_count", uint32(7)), "load"},
		{"wrong width", patch("llama.embedding_length", uint32(288)), "load"},
		{"query and key not permuted", halves, "perplexity"},
		{"rope base of another model", patch("llama.rope.freq_base", float32(2)), "perplexity"},
		{"norm epsilon of 100", patch("llama.attention.layer_norm_rms_epsilon", float32(100)), "perplexity"},
		{"NaN in a norm", func(t *testing.T, f *gguf.File, b []byte) []byte {
			binary.LittleEndian.PutUint32(bytesOf(t, f, b, "blk.2.ffn_norm.weight"), math.Float32bits(nan))
			return b
		}, "load"},
		{"NaN scale of a block", func(t *testing.T, f *gguf.File, b []byte) []byte {
			binary.LittleEndian.PutUint16(bytesOf(t, f, b, "blk.0.ffn_down.weight"), 0x7e00)
			return b
		}, "load"},
		{"zeros for an embedding", func(t *testing.T, f *gguf.File, b []byte) []byte {
			clear(bytesOf(t, f, b, "token_embd.weight"))
			return b
		}, "logits"},
		{"merges of another vocabulary", swapTokens, "tokens"},
		{"a word for the end token", patch("tokenizer.ggml.eos_token_id", uint32(500)), "end"},
	} {
		t.Run(c.name, func(t *testing.T) {
			spoiled := filepath.Join(t.TempDir(), "spoiled.gguf")
			if err := os.WriteFile(spoiled, c.spoil(t, f, bytes.Clone(whole)), 0o644); err != nil {
				t.Fatal(err)
			}
			o := options(spoiled)
			o.Encoded = encoded(t)
			r := try(t, o)
			err := r.Err(spoiled)
			if !errors.Is(err, smoke.ErrFailed) {
				t.Fatalf("not caught: %+v", r.Checks)
			}
			var failed []string
			for _, k := range r.Checks {
				if k.State == smoke.Failed {
					failed = append(failed, k.Name)
				}
			}
			t.Logf("caught by %s: %v", strings.Join(failed, ", "), err)
			if !strings.Contains(strings.Join(failed, ","), c.caught) {
				t.Errorf("caught by %v, want %s", failed, c.caught)
			}
			var hint interface{ Hint() string }
			if !errors.As(err, &hint) || hint.Hint() == "" {
				t.Error("no hint")
			}
		})
	}
}

// swapTokens exchanges two pieces of the vocabulary.
func swapTokens(t *testing.T, _ *gguf.File, b []byte) []byte {
	piece := func(s string) []byte { return append(binary.LittleEndian.AppendUint64(nil, uint64(len(s))), s...) }
	one, two := bytes.Index(b, piece("\u2581the")), bytes.Index(b, piece("\u2581and"))
	if one < 0 || two < 0 {
		t.Fatal("the vocabulary has no such pieces")
	}
	copy(b[one:], piece("\u2581and"))
	copy(b[two:], piece("\u2581the"))
	return b
}
