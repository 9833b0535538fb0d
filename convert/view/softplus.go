package view

// torch's softplus on a CPU is log1p(exp(x)) with exp and log1p of a vector library whose results are within one unit in the last
// place, not correctly rounded. What follows gives its bits: the same reductions and the same polynomials, with fused
// multiply-adds, over whole vectors of 32. A rest that fills no vector is computed with the C library's functions there and
// correctly rounded here. TestSoftplusEqualsTorch holds it.

import "math"

// softplusLimit is where torch takes x itself.
const softplusLimit = 20

// Softplus is log(1 + e^x), with torch's rounding for float32.
func Softplus(t Tensor) (Tensor, error) {
	return Map(t, func(v []float32) {
		for i, x := range v {
			switch {
			case x > softplusLimit || x != x:
			case x > -expLimit:
				v[i] = log1p(expFused(x))
			default: // so small that the logarithm changes nothing
				v[i] = float32(math.Exp(float64(x)))
			}
		}
	})
}

// The logarithm of 2 as a sum: of which the first part has so few bits that small multiples are exact (for exp), and of two
// floats (for log1p).
const (
	ln2High, ln2Low   = float32(0.693145751953125), float32(1.428606765330187045e-06)
	ln2First, ln2Rest = float32(0.69314718246459960938), float32(-1.904654323148236017e-09)
)

// expFused is e^x for |x| below 87: 2^q times a polynomial of the rest.
func expFused(x float32) float32 {
	q := float32(math.RoundToEven(float64(float32(x * float32(math.Log2E)))))
	s := fma(q, -ln2High, x)
	s = fma(q, -ln2Low, s)
	u := polynomial(s, 0.000198527617612853646278381, 0.00139304355252534151077271, 0.00833336077630519866943359,
		0.0416664853692054748535156, 0.166666671633720397949219, 0.5)
	u = 1 + fma(float32(s*s), u, s)
	return float32(math.Ldexp(float64(u), int(q)))
}

// log1p is log(1 + d) for d >= 0 by the series of the area tangent, carried with two floats.
func log1p(d float32) float32 {
	_, e := math.Frexp(float64(float32((d + 1) * float32(1/0.75))))
	e--
	t := float32(math.Ldexp(1, -e))
	m := fma(d, t, t-1)
	n := float32(e)
	hi := float32(ln2First * n)
	lo := fma(ln2Rest, n, fma(ln2First, n, -hi))
	// x = m / (2 + m), xl its error
	sum := 2 + m
	rest := (2 - sum) + m
	inverse := 1 / sum
	x := float32(m * inverse)
	u := fma(inverse, m, -x)
	w := fma(-rest, inverse, fma(-sum, inverse, 1))
	xl := fma(x, w, u)
	x2 := float32(x * x)
	p := polynomial(x2, 0.3027294874e+0, 0.3996108174e+0, 0.6666694880e+0)
	a := hi + 2*x
	al := ((hi - a) + 2*x) + lo + 2*xl
	y := float32(float32(x2*x) * p)
	b := a + y
	bl := ((a - b) + y) + al
	return b + bl
}

// polynomial evaluates with fused steps, the highest coefficient first.
func polynomial(x float32, c ...float32) float32 {
	u := c[0]
	for _, k := range c[1:] {
		u = fma(u, x, k)
	}
	return u
}

// fma is x*y + z rounded once. The product is exact in float64; a sum that would be rounded to a tie between two float32 is moved
// off it by its own error.
func fma(x, y, z float32) float32 {
	p, c := float64(x)*float64(y), float64(z)
	s := p + c
	back := s - p
	lost := (p - (s - back)) + (c - back)
	if bits := math.Float64bits(s); lost != 0 && bits&(1<<29-1) == 1<<28 {
		if (lost > 0) == (s > 0) {
			bits++
		} else {
			bits--
		}
		s = math.Float64frombits(bits)
	}
	return float32(s)
}
