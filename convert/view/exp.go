package view

// The reference computes -exp(A_log) with torch on a CPU, whose exp is not correctly rounded: it is off by one unit in
// the last place for one value in a hundred. What follows gives torch's bits. It was found from inputs and outputs of
// torch 2.6 on x86-64 alone: the places of its errors repeat with ln(2)/128 and grow as the cube of the distance from
// it, as a table of 2^(j/128) with a polynomial of second degree does, without fused multiply-adds.
// TestExpEqualsTorch holds it for half a million values; torch on an arm64 machine has other bits.

import (
	"math"
	"math/big"
	"sync"
)

// expLimit is the magnitude from which the result leaves the range of normal numbers and torch takes another way;
// there the correctly rounded value stands.
const expLimit = 87.33

// Exp is e to the power of each value, with torch's rounding, for |x| < 87.33; correctly rounded beyond.
func Exp(t Tensor) (Tensor, error) {
	table := powers()
	return Map(t, func(v []float32) {
		for i, x := range v {
			v[i] = table.exp(x)
		}
	})
}

// expTable is 2^(j/128) as the sum of two float32.
type expTable struct{ high, low [128]float32 }

func (t *expTable) exp(x float32) float32 {
	if !(x > -expLimit && x < expLimit) {
		return float32(math.Exp(float64(x)))
	}
	const (
		steps = 128 / math.Ln2
		// ln(2)/128 in two parts, the first of so few bits that a multiple of it is exact.
		part = 0x1.63p-8
		rest = math.Ln2/128 - part
	)
	k := float32(math.RoundToEven(float64(float32(x * float32(steps)))))
	r := float32(x - float32(k*part))
	r = float32(r - float32(k*float32(rest)))
	p := float32(r + float32(0.5*float32(r*r)))
	n := int(k)
	high, low := t.high[n&127], t.low[n&127]
	y := float32(high + float32(low+float32(high*p)))
	return float32(math.Ldexp(float64(y), n>>7))
}

// powers makes the table with more digits than float64 has: the low parts need them.
var powers = sync.OnceValue(func() *expTable {
	step := new(big.Float).SetPrec(160).SetInt64(2)
	for range 7 { // 2^(1/128)
		step.Sqrt(step)
	}
	t := new(expTable)
	v := new(big.Float).SetPrec(160).SetInt64(1)
	for j := range t.high {
		t.high[j], _ = v.Float32()
		low := new(big.Float).SetPrec(160).SetFloat64(float64(t.high[j]))
		t.low[j], _ = low.Sub(v, low).Float32()
		v.Mul(v, step)
	}
	return t
})
