package tokenizer

import (
	"encoding/base64"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// spmField writes a field of a message: text, bytes, a whole number, a flag or a score.
func spmField(to []byte, num protowire.Number, v any) []byte {
	switch v := v.(type) {
	case string:
		return protowire.AppendString(protowire.AppendTag(to, num, protowire.BytesType), v)
	case []byte:
		return protowire.AppendBytes(protowire.AppendTag(to, num, protowire.BytesType), v)
	case int:
		return protowire.AppendVarint(protowire.AppendTag(to, num, protowire.VarintType), uint64(v))
	case bool:
		return protowire.AppendVarint(protowire.AppendTag(to, num, protowire.VarintType), protowire.EncodeBool(v))
	case float32:
		return protowire.AppendFixed32(protowire.AppendTag(to, num, protowire.Fixed32Type), math.Float32bits(v))
	}
	return to
}

// spmPieces makes the entries of a vocabulary; now and then one that has to be refused.
func (g *generator) spmPieces(fallback bool) []byte {
	var out []byte
	seen := map[string]bool{}
	piece := func(text string, score float32, kind int) {
		if seen[text] && g.IntN(200) > 0 {
			return
		}
		seen[text] = true
		p := spmField(spmField(nil, 1, text), 2, score)
		if kind != 1 || g.flip() {
			p = spmField(p, 3, kind)
		}
		out = spmField(out, 1, p)
	}
	piece("<unk>", 0, 2)
	piece("<s>", 0, 3)
	piece("</s>", 0, 3)
	if fallback {
		for b := range 256 {
			piece(fmt.Sprintf("<0x%02X>", b), 0, 6)
		}
	}
	mark := func(s string) string {
		if g.IntN(3) == 0 {
			s = lowerBlock + s
		}
		return strings.ReplaceAll(s, " ", lowerBlock)
	}
	for range 30 + g.IntN(120) {
		s := g.pick(letters)
		for range g.IntN(4) {
			s += g.pick(letters)
		}
		kind := []int{1, 1, 1, 1, 1, 1, 1, 1, 4, 5}[g.IntN(10)]
		piece(mark(s), -float32(g.IntN(60))/4, kind)
	}
	for _, l := range letters {
		for _, r := range l {
			if g.IntN(8) > 0 {
				piece(mark(string(r)), -float32(g.IntN(40))/4, 1)
			}
		}
	}
	if g.IntN(50) == 0 {
		piece("", 0, 1)
	}
	return out
}

// spmModel makes a model with random pieces and options.
func (g *generator) spmModel(charsmap []byte) []byte {
	fallback := g.IntN(3) == 0
	out := g.spmPieces(fallback)
	var trainer, norm []byte
	kind := []int{1, 1, 1, 2, 2, 2, 4}[g.IntN(7)]
	if kind != 1 || g.flip() {
		trainer = spmField(trainer, 3, kind)
	}
	if g.IntN(4) == 0 {
		trainer = spmField(trainer, 24, true)
	}
	if fallback || g.IntN(30) == 0 {
		trainer = spmField(trainer, 35, true)
	}
	for num := protowire.Number(3); num <= 5; num++ {
		if g.flip() {
			norm = spmField(norm, num, g.flip())
		}
	}
	if g.IntN(3) == 0 {
		norm = spmField(norm, 2, charsmap)
	}
	return spmField(spmField(out, 2, trainer), 3, norm)
}

// TestSentencePieceLive compares random models on random texts with the sentencepiece library, as long as
// TestDifferential does.
func TestSentencePieceLive(t *testing.T) {
	o := newOracle(t)
	seconds, seed := number("QUERN_DIFFERENTIAL_SECONDS", 20), number("QUERN_DIFFERENTIAL_SEED", 1)
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	charsmap, err := base64.StdEncoding.DecodeString(charsmapOf(t))
	if err != nil {
		t.Fatal(err)
	}
	models, lists, refused, bad := 0, 0, 0, 0
	for ; time.Now().Before(end) && bad < 10; seed++ {
		g := &generator{Rand: rand.New(rand.NewPCG(uint64(seed), 11))}
		file := g.spmModel(charsmap)
		models++
		m, err := ParseSentencePiece(file)
		if err == nil {
			err = m.Check()
		}
		var answer any
		o.ask(t, map[string]any{"spm": base64.StdEncoding.EncodeToString(file)}, &answer)
		if (answer != nil) != (err != nil) {
			bad++
			t.Errorf("seed %d: the library says %v, we say %v", seed, answer, err)
		}
		if answer != nil || err != nil {
			refused++
			continue
		}
		asked := []string{"", " ", "  a  b "}
		for range 30 {
			asked = append(asked, g.text())
		}
		var want [][]int32
		o.ask(t, map[string]any{"pieces": asked}, &want)
		for i, text := range asked {
			lists++
			if got, err := m.Encode(text); err != nil || !slices.Equal(got, want[i]) {
				bad++
				t.Errorf("seed %d (kind %d, fallback %v, suffix %v, dummy %v, extra %v, escape %v, charsmap %v) on %q\ngot  %v %v\nwant %v", seed, m.Kind, m.ByteFallback, m.WhitespaceAsSuffix,
					m.AddDummyPrefix, m.RemoveExtraWhitespaces, m.EscapeWhitespaces, len(m.Charsmap) > 0, text, got, err, want[i])
				break
			}
		}
	}
	t.Logf("%d models (%d refused by both), %d lists of ids, next seed %d", models, refused, lists, seed)
}
