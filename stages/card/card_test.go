package card

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quern/stages/record"
)

const receipt = `{"receipt_version":1,"made":"2026-11-25T10:00:00Z","quern":"1.0","llama_cpp":"v0.5.0","license":"apache-2.0","architecture":"llama",
"source":{"kind":"hub","model":"acme/tiny","repo":"acme/tiny","commit":"0123456789012345678901234567890123456789","verified":"every file","files":[{"name":"model.safetensors","size":9,"digest":"sha256:aa"}]},
"outputs":[{"name":"tiny-TYPE.gguf","size":SIZE,"digest":"sha256:DIGEST"}],"type":"TYPE","platform":"linux/amd64","bits_per_weight":4.5,"tensors":null,
"smoke":{"checks":[{"name":"load","state":"ok","value":"x"},{"name":"utf-8","state":"failed","value":"y"}]},
"quality":{"path":"x","mean":0.0123,"same_top":0.95,"perplexity":{"value":15.5},"source":{"value":15.0}},
"setting":{"context":8192,"slots":1,"kv_type":"f16","ubatch":512,"batch":2048,"threads":4,"flash_attn":true}}`

func place(t *testing.T, dir, typ, size string) {
	t.Helper()
	text := strings.NewReplacer("TYPE", typ, "SIZE", size, "DIGEST", strings.Repeat("ab", 32)).Replace(receipt)
	if err := os.WriteFile(filepath.Join(dir, "tiny-"+typ+".gguf"+record.Suffix), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A folder is sealed from its receipts alone: largest file first, figures in the table, front matter for the Hub; a second time
// nothing changes, and without receipts nothing is left.
func TestSeal(t *testing.T) {
	dir := t.TempDir()
	if changed, err := Seal(dir); changed || err != nil {
		t.Fatalf("an empty folder: %v, %v", changed, err)
	}
	place(t, dir, "Q4_K_M", "3000000")
	place(t, dir, "Q8_0", "5000000")
	if changed, err := Seal(dir); !changed || err != nil {
		t.Fatal(changed, err)
	}
	text := read(t, dir, CardName)
	for _, want := range []string{"---\nlicense: apache-2.0\nbase_model: acme/tiny\nbase_model_relation: quantized\nlibrary_name: gguf", "    - llama\n---",
		"| Q4_K_M | tiny-Q4_K_M.gguf | 3.0 MB | 4.50 | 0.0123 | 95.0 % | 15.500 (source 15.000) |  | 1 of 2 checks failed |",
		"llama-server -m tiny-Q4_K_M.gguf -c 8192", "commit 0123456789012345678901234567890123456789", "| model.safetensors | 9 | `sha256:aa` |"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	if strings.Index(text, "| Q8_0") > strings.Index(text, "| Q4_K_M") {
		t.Error("the largest file comes first")
	}
	if sums := read(t, dir, SumsName); sums != strings.Repeat("ab", 32)+"  tiny-Q4_K_M.gguf\n"+strings.Repeat("ab", 32)+"  tiny-Q8_0.gguf\n" {
		t.Errorf("sums: %q", sums)
	}
	if n := strings.Count(read(t, dir, RecordsName), "\n"); n != 2 {
		t.Errorf("%d records", n)
	}
	if changed, err := Seal(dir); changed || err != nil {
		t.Errorf("sealed twice: %v, %v", changed, err)
	}
	for _, typ := range []string{"Q4_K_M", "Q8_0"} {
		if err := os.Remove(filepath.Join(dir, "tiny-"+typ+".gguf"+record.Suffix)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Seal(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// Hostile names in receipts stay in their cells.
func TestCardEscapes(t *testing.T) {
	r := &record.Receipt{Type: "Q8_0", Outputs: []record.FileDigest{{Name: "a|b\n# c.gguf", Size: 1, Digest: "sha256:" + strings.Repeat("0", 64)}}}
	r.License = "x\n---\n# not front matter"
	b, err := Card([]*record.Receipt{r})
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	if strings.Contains(text, "\n# c.gguf |") || strings.Count(text[:strings.Index(text, "# ")], "\n---\n") > 1 {
		t.Errorf("%s", text)
	}
}
