package tokenizer

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// recording is a random tokenizer with the library's answers.
type recording struct {
	File    json.RawMessage
	Texts   []string
	Answers [][]any // as testdata/oracle.py gives them
}

const recorded = "testdata/recorded.json.zst"

// TestRecorded replays what the library answered for random tokenizers: every component, behavior and option occurs.
func TestRecorded(t *testing.T) {
	packed, err := os.ReadFile(recorded)
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var all []recording
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	lists := 0
	for i, r := range all {
		tok, err := Load(r.File)
		if err != nil {
			t.Errorf("tokenizer %d: %v", i, err)
			continue
		}
		for k, text := range r.Texts {
			if says := differs(tok, text, r.Answers[k]); says != "" {
				t.Errorf("tokenizer %d on %q: %s\n%s", i, text, says, brief(string(r.File)))
			}
			lists += 2
		}
	}
	t.Logf("%d tokenizers, %d lists of ids and as many texts decoded", len(all), lists)
	if len(all) != 100 {
		t.Errorf("%d tokenizers are recorded, want 100", len(all))
	}
}

// TestRecord records anew, with the library at hand, when QUERN_RECORD is set.
func TestRecord(t *testing.T) {
	if os.Getenv("QUERN_RECORD") == "" {
		t.Skip("QUERN_RECORD is not set: nothing is recorded")
	}
	o := newOracle(t)
	g := &generator{charsmap: charsmapOf(t)}
	var all []recording
	for seed := uint64(1); len(all) < 100; seed++ {
		g.Rand = rand.New(rand.NewPCG(seed, 11))
		r := recording{File: json.RawMessage(g.tokenizer()), Texts: []string{" "}}
		for range 12 {
			r.Texts = append(r.Texts, g.text())
		}
		var answer any
		if o.ask(t, map[string]any{"load": string(r.File)}, &answer); answer != nil {
			continue
		}
		if _, err := Load(r.File); err != nil {
			continue // what we refuse is held elsewhere
		}
		o.ask(t, map[string]any{"encode": r.Texts}, &r.Answers)
		all = append(all, r)
	}
	data, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(8<<20))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(recorded, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
