package config

import (
	"errors"
	"math"
	"math/big"
)

// Whether a completion fails decides about a whole file, and whether a division of two floats gives 32.0 or 32 about
// the type of a key. So the rules compute with these operators and not with Go's.
//
// Arithmetic as Python does it on the values of a JSON file: integers of any size, booleans are 0 and 1, floor
// division rounds down, the remainder takes the divisor's sign. Whatever Python raises on is errMath.

var errMath = errors.New("arithmetic on a value that is no number, or division by zero")

// operation is one operator on integers and on floats; divide marks those for which zero fails.
type operation struct {
	ints   func(a, b *big.Int) *big.Int
	floats func(a, b float64) float64
	divide bool
}

var (
	times = operation{ints: func(a, b *big.Int) *big.Int { return a.Mul(a, b) }, floats: func(a, b float64) float64 { return a * b }}
	plus  = operation{ints: func(a, b *big.Int) *big.Int { return a.Add(a, b) }, floats: func(a, b float64) float64 { return a + b }}
	minus = operation{ints: func(a, b *big.Int) *big.Int { return a.Sub(a, b) }, floats: func(a, b float64) float64 { return a - b }}
	mod   = operation{ints: func(a, b *big.Int) *big.Int { _, m := floorDivide(a, b); return m }, floats: floorMod, divide: true}
	div   = operation{ints: func(a, b *big.Int) *big.Int { q, _ := floorDivide(a, b); return q }, floats: floorQuotient, divide: true}
)

// of applies the operation; the result is int64 where it fits, *big.Int, or float64.
func (op operation) of(a, b any) (any, error) {
	x, xInt, xok := number(a)
	y, yInt, yok := number(b)
	switch {
	case !xok || !yok, op.divide && (yInt != nil && yInt.Sign() == 0 || yInt == nil && y == 0):
		return nil, errMath
	case xInt != nil && yInt != nil:
		return small(op.ints(xInt, yInt)), nil
	}
	return op.floats(x, y), nil
}

// number gives a value's float and, for an integer, a fresh big integer.
func number(v any) (float64, *big.Int, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, big.NewInt(1), true
		}
		return 0, new(big.Int), true
	case int64:
		return float64(v), big.NewInt(v), true
	case *big.Int:
		f, _ := asFloat(v)
		return f, new(big.Int).Set(v), true
	case float64:
		return v, nil, true
	}
	return 0, nil, false
}

// small keeps the invariant of Parse: what fits int64 is one.
func small(i *big.Int) any {
	if i.IsInt64() {
		return i.Int64()
	}
	return i
}

// floorDivide corrects big.Int's truncation where the signs differ.
func floorDivide(a, b *big.Int) (q, m *big.Int) {
	q, m = new(big.Int).QuoRem(a, b, new(big.Int))
	if m.Sign() != 0 && m.Sign() != b.Sign() {
		q.Sub(q, big.NewInt(1))
		m.Add(m, b)
	}
	return q, m
}

func floorMod(a, b float64) float64 {
	m := math.Mod(a, b)
	if m != 0 && (m < 0) != (b < 0) {
		m += b
	}
	return m
}

// floorQuotient goes through the remainder, as CPython does, so that 1 // 0.1 is 9.
func floorQuotient(a, b float64) float64 {
	q := (a - floorMod(a, b)) / b
	if f := math.Floor(q); q-f > 0.5 {
		return f + 1
	} else {
		return f
	}
}

// less is a < b on numbers.
func less(a, b any) (bool, error) {
	x, xInt, xok := number(a)
	y, yInt, yok := number(b)
	switch {
	case !xok || !yok:
		return false, errMath
	case xInt != nil && yInt != nil:
		return xInt.Cmp(yInt) < 0, nil
	}
	return x < y, nil
}

// same is a == b on numbers; false where one is none.
func same(a, b any) bool {
	x, xInt, xok := number(a)
	y, yInt, yok := number(b)
	switch {
	case !xok || !yok:
		return false
	case xInt != nil && yInt != nil:
		return xInt.Cmp(yInt) == 0
	}
	return x == y
}

// whole is int(v) of a number: truncated; it fails for infinity and NaN.
func whole(v any) (any, error) {
	f, i, ok := number(v)
	switch {
	case i != nil:
		return small(i), nil
	case !ok || math.IsInf(f, 0) || math.IsNaN(f):
		return nil, errMath
	}
	i, _ = big.NewFloat(f).Int(nil)
	return small(i), nil
}

// ceilOf is ceil(v / by).
func ceilOf(v any, by float64) (any, error) {
	f, _, ok := number(v)
	if !ok {
		return nil, errMath
	}
	return whole(math.Ceil(f / by))
}
