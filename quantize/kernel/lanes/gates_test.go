package lanes

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The generated assembly keeps the rules that no assembler checks.
func TestAssembly(t *testing.T) {
	upper := regexp.MustCompile(`\b[XYZ](1[6-9]|2\d|3[01])\b`)
	fused := regexp.MustCompile(`\b(VFN?M(ADD|SUB)\w*|FN?M(ADD|SUB)[SD]?|VFML[AS])\b`)
	for _, file := range []string{"avx2_amd64.s", "avx512_amd64.s"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		previous := ""
		for i, line := range strings.Split(string(text), "\n") {
			line = strings.TrimSpace(line)
			if file == "avx2_amd64.s" && upper.MatchString(line) {
				t.Errorf("%s:%d: %s: AVX2 has 16 registers", file, i+1, line)
			}
			if fused.MatchString(line) {
				t.Errorf("%s:%d: %s: a fused operation rounds once where the reference rounds twice", file, i+1, line)
			}
			if line == "RET" && previous != "VZEROUPPER" {
				t.Errorf("%s:%d: a return without VZEROUPPER slows the SSE code after it", file, i+1)
			}
			if line != "" {
				previous = line
			}
		}
	}
}
