package recipe

import (
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"

	"quern/convert/gguf"
)

// random classes look like a model's: errors fall about fourfold for each bit, some types are beaten by others.
func random(r *rand.Rand, classes, choices int) []Class {
	var all []Class
	for range classes {
		var c Class
		scale, weight := 1+r.Int64N(50), r.Float64()
		for range 1 + r.IntN(choices) {
			bits := 1 + 15*r.Float64()
			c.Choices = append(c.Choices, Choice{gguf.Type(r.IntN(9)), scale * int64(bits*16), weight * math.Exp2(-2*bits) * (1 + r.Float64())})
		}
		all = append(all, c)
	}
	return all
}

func extremes(classes []Class) (least, most int64) {
	for _, c := range classes {
		lo, hi := int64(math.MaxInt64), int64(0)
		for _, x := range c.Choices {
			lo, hi = min(lo, x.Bytes), max(hi, x.Bytes)
		}
		least, most = least+lo, most+hi
	}
	return least, most
}

// everything tries all mixtures.
func everything(classes []Class, room int64) float64 {
	if len(classes) == 0 {
		return 0
	}
	best := math.Inf(1)
	for _, x := range classes[0].Choices {
		if x.Bytes <= room {
			best = min(best, x.Error+everything(classes[1:], room-x.Bytes))
		}
	}
	return best
}

func TestSolveIsOptimal(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	exact := 0
	for range 400 {
		classes := random(r, 1+r.IntN(6), 5)
		least, most := extremes(classes)
		budget := least + r.Int64N(most-least+1)
		s, err := Solve(classes, budget)
		if err != nil {
			t.Fatal(err)
		}
		if want := everything(classes, budget); math.Abs(s.Error-want) > 1e-9*want || s.Bound > want*(1+1e-9) || s.Bytes > budget {
			t.Fatalf("error %v, bound %v, %d of %d bytes; the least error is %v: %+v", s.Error, s.Bound, s.Bytes, budget, want, classes)
		}
		if s.Exact {
			exact++
		}
		checkSums(t, classes, s)
	}
	if exact != 400 {
		t.Errorf("%d of 400 proven exact", exact)
	}
}

func checkSums(t *testing.T, classes []Class, s Solution) {
	t.Helper()
	bytes, sum := int64(0), 0.0
	for i, pick := range s.Pick {
		bytes += classes[i].Choices[pick].Bytes
		sum += classes[i].Choices[pick].Error
	}
	if bytes != s.Bytes || sum != s.Error {
		t.Fatalf("the picks have %d bytes and error %v, the solution says %d and %v", bytes, sum, s.Bytes, s.Error)
	}
}

// A model of some hundred tensors: the bound is close, and a second run picks the same.
func TestSolveLarge(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 5 {
		classes := random(r, 400, 16)
		least, most := extremes(classes)
		for _, budget := range []int64{least, (3*least + most) / 4, most} {
			a, err := Solve(classes, budget)
			if err != nil {
				t.Fatal(err)
			}
			b, err := Solve(classes, budget)
			if err != nil || !reflect.DeepEqual(a, b) {
				t.Error("a second run differs")
			}
			if a.Bytes > budget || a.Gap() > 1e-3 {
				t.Errorf("%d of %d bytes, gap %v", a.Bytes, budget, a.Gap())
			}
			checkSums(t, classes, a)
		}
	}
}

func TestSolveRefuses(t *testing.T) {
	one := Choice{gguf.Q4_0, 100, 1}
	for name, c := range map[string][]Class{
		"too small":  {{"a", []Choice{one}}, {"b", []Choice{one}}},
		"no choice":  {{"a", nil}},
		"NaN":        {{"a", []Choice{{gguf.Q4_0, 1, math.NaN()}}}},
		"negative":   {{"a", []Choice{{gguf.Q4_0, -1, 0}}}},
		"infinite":   {{"a", []Choice{{gguf.Q4_0, 1, math.Inf(1)}}}},
		"below zero": {{"a", []Choice{{gguf.Q4_0, 1, -1}}}},
	} {
		var e *Error
		if _, err := Solve(c, 150); !errors.As(err, &e) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if s, err := Solve(nil, 0); err != nil || !s.Exact {
		t.Errorf("nothing to choose: %+v %v", s, err)
	}
}

func BenchmarkSolve(b *testing.B) {
	classes := random(rand.New(rand.NewPCG(5, 6)), 400, 16)
	least, most := extremes(classes)
	for b.Loop() {
		if _, err := Solve(classes, (3*least+most)/4); err != nil {
			b.Fatal(err)
		}
	}
}
