package arch

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"quern/convert/safetensors"
	"quern/convert/view"
)

// numbers is n values between -1/2 and 1/2, by splitmix64: easily made in other languages too.
func numbers64(seed uint64, n int) []float32 {
	out := make([]float32, n)
	for i := range out {
		z := seed + uint64(i) + 0x9E3779B97F4A7C15
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		z ^= z >> 31
		out[i] = float32(z>>40)*0x1p-24 - 0.5
	}
	return out
}

func randomMatrix(t *testing.T, seed uint64, shape ...int64) view.Tensor {
	t.Helper()
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	v, err := view.Values("m", shape, numbers64(seed<<20, int(n)))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func hashOf(values []float32) string {
	b := make([]byte, 0, 4*len(values))
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return fmt.Sprintf("%x", sha256.Sum256(b))
}

// TestPerceptronEqualsTorch holds every bit against F.linear(F.silu(F.linear(x, w, b)), w, b) of torch 2.6.0 on x86-64, for
// widths of one block of sums, of two halves, and of blocks of 192 with a rest. More rows than a batch, and rows from the middle.
func TestPerceptronEqualsTorch(t *testing.T) {
	for _, c := range []struct {
		rows, in, hidden, out int64
		want                  string
	}{
		{67, 48, 64, 32, "2e783cbb9a8c480f773f431a519a1fe93f3b3caca952552db1a61eac954d292d"},
		{67, 300, 48, 32, "edf0a8c381d58e5df16a7f6a2b2d831f36e93822edb9a9cc245ce5423feb4326"},
		{67, 400, 576, 24, "92c162154b36dbc7f6e05bd59b7f57f0f872bfbf270ab18cae016c251fa8c47b"},
	} {
		x := randomMatrix(t, 1, c.rows, c.in)
		y, err := perceptron(x, "silu", [2]view.Tensor{randomMatrix(t, 2, c.hidden, c.in), randomMatrix(t, 4, c.out, c.hidden)},
			[2]view.Tensor{randomMatrix(t, 3, c.hidden), randomMatrix(t, 5, c.out)})
		if err != nil {
			t.Fatal(err)
		}
		all, err := view.Floats(t.Context(), y)
		if err != nil {
			t.Fatal(err)
		}
		if got := hashOf(all); got != c.want {
			t.Errorf("%d -> %d -> %d: %s, torch gives %s", c.in, c.hidden, c.out, got, c.want)
		}
		row := make([]byte, 4*c.out)
		if err := y.ReadRows(t.Context(), row, 3, 4); err != nil {
			t.Fatal(err)
		}
		for i, v := range all[3*c.out : 4*c.out] {
			if got := math.Float32frombits(binary.LittleEndian.Uint32(row[4*i:])); got != v {
				t.Fatalf("row 3, element %d is %v alone and %v among others", i, got, v)
			}
		}
	}
}

// TestActivations holds silu and relu against torch 2.6.0 for every 1024th from -8 to 8, and gelu, whose erf is another
// there, within four units in the last place for a few.
func TestActivations(t *testing.T) {
	for name, want := range map[string]string{
		"silu": "a61ae41d132d0f14f9141cc4782bf892d9c5f32917854e08d6b9f758b537d8a7",
		"relu": "8a90d15eedae6dc0d166ebfbb9d325f9e901e43eb00f455ece10923c50bfb19c",
	} {
		values := make([]float32, 16384)
		for i := range values {
			values[i] = activations[name](float32(i)/1024 - 8)
		}
		if got := hashOf(values); got != want {
			t.Errorf("%s: %s, torch gives %s", name, got, want)
		}
	}
	for x, want := range map[float32]float32{-1.1640625: -0.14224765, 0.7890625: 0.6193843, 3.71875: 3.7183776} {
		got := activations["gelu"](x)
		if d := int32(math.Float32bits(got)) - int32(math.Float32bits(want)); d < -4 || d > 4 {
			t.Errorf("gelu(%v) is %v, torch gives %v", x, got, want)
		}
	}
	for _, x := range []float32{-1000, -88, 89, 1000, float32(math.NaN())} {
		if got, want := sleefExp(x), float32(math.Exp(float64(x))); got != want && got == got {
			t.Errorf("exp(%v) is %v, want %v", x, got, want)
		}
	}
}

// TestPerceptronRefuses wants shapes that do not fit, and activations that it does not know, to be errors.
func TestPerceptronRefuses(t *testing.T) {
	x := randomMatrix(t, 1, 4, 6)
	fits := [2]view.Tensor{randomMatrix(t, 2, 5, 6), randomMatrix(t, 3, 3, 5)}
	biases := [2]view.Tensor{randomMatrix(t, 4, 5), randomMatrix(t, 5, 3)}
	for name, c := range map[string]struct {
		activation string
		weights    [2]view.Tensor
		biases     [2]view.Tensor
		want       string
	}{
		"activation": {"tanh", fits, biases, "tanh"},
		"width":      {"silu", [2]view.Tensor{fits[0], fits[0]}, biases, "for rows of 5"},
		"bias":       {"silu", fits, [2]view.Tensor{biases[1], biases[1]}, "[3]"},
		"huge":       {"silu", [2]view.Tensor{view.Zeros("m", safetensors.F32, []int64{1 << 40, 6}), fits[1]}, biases, "1099511627776"},
	} {
		if _, err := perceptron(x, c.activation, c.weights, c.biases); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// BenchmarkPerceptron is a slab of rows of the width of the published model.
func BenchmarkPerceptron(b *testing.B) {
	m := func(shape ...int64) view.Tensor { return view.Zeros("m", safetensors.F32, shape) }
	y, err := perceptron(m(64, 2048), "silu", [2]view.Tensor{m(2048, 2048), m(2048, 2048)}, [2]view.Tensor{m(2048), m(2048)})
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 64*2048*4)
	b.SetBytes(int64(len(dst)))
	for b.Loop() {
		if err := y.ReadRows(b.Context(), dst, 0, 64); err != nil {
			b.Fatal(err)
		}
	}
}
