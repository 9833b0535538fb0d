package record_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quern/convert/fault"
	"quern/stages/record"
)

// A receipt from elsewhere names files beside it by SHA-256, or it is refused: its names go into paths, checksums and statements.
func TestHostileReceipts(t *testing.T) {
	good := strings.Repeat("0a", 32)
	n := 0
	for name, digest := range map[string]string{"../up.gguf": good, "a/b.gguf": good, `a\b.gguf`: good, "..": good, "": good, "x\n" + good + "  y": good,
		"short.gguf": "0a", "long.gguf": good + "00", "upper.gguf": strings.ToUpper(good), "hex.gguf": strings.Repeat("zz", 32)} {
		for _, where := range []string{"outputs", "beside"} {
			path := filepath.Join(t.TempDir(), "x.gguf.receipt.json")
			text := fmt.Sprintf(`{"receipt_version":1,%q:[{"name":%q,"size":1,"digest":"sha256:%s"}]}`, where, name, digest)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := record.ReadReceipt(path)
			var bad *fault.Invalid
			if !errors.As(err, &bad) {
				t.Errorf("%s: %v", text, err)
			}
			n++
		}
	}
	t.Logf("count: %d hostile receipts are refused", n)
}
