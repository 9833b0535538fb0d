package recommend

import (
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// serverOptions are the names that llama-server takes.
func serverOptions(t *testing.T) map[string]bool {
	t.Helper()
	text, err := os.ReadFile("testdata/server-options.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "-") {
			known[strings.TrimSpace(line)] = true
		}
	}
	if len(known) < 200 {
		t.Fatalf("%d options of llama-server", len(known))
	}
	return known
}

// Every option that a run line may hold is one of llama-server's, and its value follows.
func TestServerLine(t *testing.T) {
	known := serverOptions(t)
	rng := rand.New(rand.NewPCG(8, 1))
	seen := map[string]bool{}
	lines := 0
	for range 500 {
		o := Setting{Context: 256 << rng.IntN(8), Slots: 1 + rng.Int64N(4), Unified: rng.IntN(2) == 0, KV: KVTypes[rng.IntN(len(KVTypes))], MicroBatch: 128 << rng.IntN(5),
			Batch: 512 << rng.IntN(3), Threads: 1 + rng.IntN(20), FlashAttn: rng.IntN(2) == 0}
		line := o.Server("model.gguf")
		words := strings.Fields(line)
		if words[0] != "llama-server" {
			t.Fatal(line)
		}
		for i, w := range words[1:] {
			if !strings.HasPrefix(w, "-") {
				continue
			}
			seen[w] = true
			if !known[w] {
				t.Errorf("%s: llama-server has no option %s", line, w)
			}
			if w != "-kvu" && (i+2 >= len(words) || strings.HasPrefix(words[i+2], "-")) {
				t.Errorf("%s: %s has no value", line, w)
			}
		}
		if !o.FlashAttn && o.KV != "f16" {
			continue // never chosen: the cache of fewer bits needs flash attention
		}
		lines++
	}
	t.Logf("count: %d run lines, %d options, all of them llama-server's", lines, len(seen))
}
