package lanes

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
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

// NEON is written as words: none of them is a fused multiply-add.
func TestNEONWords(t *testing.T) {
	text, err := os.ReadFile("neon_arm64.s")
	if err != nil {
		t.Fatal(err)
	}
	words := regexp.MustCompile(`WORD \$0x([0-9a-f]{8})`).FindAllSubmatch(text, -1)
	for _, w := range words {
		n, err := strconv.ParseUint(string(w[1]), 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		// Advanced SIMD three same, opcode 11001: FMLA and FMLS
		if n&0x9f20fc00 == 0x0e20cc00 {
			t.Errorf("%08x is a fused multiply-add", n)
		}
	}
	t.Logf("count: %d NEON instructions, none fused", len(words))
}

// The compiler fuses products with sums on arm64 and with GOAMD64=v3 unless float32() stands between them.
func TestCompilerFusesNothing(t *testing.T) {
	fused := regexp.MustCompile(`\s(FN?M(ADD|SUB)[SD]|VFN?M(ADD|SUB)\w+)\s`)
	for _, env := range [][]string{{"GOARCH=arm64"}, {"GOARCH=amd64", "GOAMD64=v3"}} {
		c := exec.Command("go", "build", "-gcflags=-S", "..")
		c.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux"), env...)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %v: %s", env, err, out)
		}
		if !strings.Contains(string(out), "kernel.fit") {
			t.Fatalf("%v: no listing", env)
		}
		for _, line := range strings.Split(string(out), "\n") {
			if fused.MatchString(line) {
				t.Errorf("%v: %s", env, line)
			}
		}
	}
}
