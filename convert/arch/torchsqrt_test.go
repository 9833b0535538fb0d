package arch

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"
)

// The digests are of torch.sqrt (torch 2.6.0 on an AMD EPYC) over two grids of float32, given as bits: fine over the two octaves
// that the estimate knows, and coarse over all normal numbers.
func TestTorchSqrt(t *testing.T) {
	const n = 1 << 18
	for name, c := range map[string]struct {
		from, step uint32
		want       string
	}{
		"two octaves": {0x3f800000, 64, "ba525f97ca778234b6122d32f46e4e9a288b9917de6b88eb1275f219fe520c12"},
		"all octaves": {0x00800000, 8128, "dd2692577b6b7216c1be9a3025ae3ae46b7323832b982271abc8a4610fcc6820"},
	} {
		h := sha256.New()
		var b [4]byte
		for i := range uint32(n) {
			binary.LittleEndian.PutUint32(b[:], math.Float32bits(torchSqrt(math.Float32frombits(c.from+i*c.step))))
			h.Write(b[:])
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != c.want {
			t.Errorf("%s: digest %s, want %s", name, got, c.want)
		}
	}
	for _, c := range [][2]uint32{{0, 0}, {1 << 31, 1 << 31}, {1, 0x1a3504f3}, {0x7f7fffff, 0x5f7fffff}, {0x7f800000, 0x7f800000},
		{0x7fc00001, 0x7fc00000}, {0xbf800000, 0x7fc00000}, {0xff800000, 0x7fc00000}} {
		if got := math.Float32bits(torchSqrt(math.Float32frombits(c[0]))); got != c[1] {
			t.Errorf("of %08x: %08x, want %08x", c[0], got, c[1])
		}
	}
}
