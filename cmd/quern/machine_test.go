package main

import "testing"

// A runtime that leaves the processor's vectors unused is found out by what it says of itself.
func TestSlowBuild(t *testing.T) {
	for _, c := range []struct {
		has        []string
		says, want string
	}{
		{[]string{"fma", "avx2"}, "CPU : SSE3 = 1 | AVX = 1 | FMA = 1", "AVX2"},
		{[]string{"fma", "avx2"}, "CPU : SSE3 = 1 | AVX2 = 1 | FMA = 1", ""},
		{[]string{"avx2", "avx512f"}, "CPU : AVX2 = 1 | AVX512 = 1", ""},
		{[]string{"avx2", "avx512f"}, "CPU : AVX2 = 1", "AVX512"},
		{[]string{"asimd", "asimddp"}, "CPU : NEON = 1 | DOTPROD = 1", ""},
		{nil, "CPU : NEON = 1", ""}, {[]string{"avx2"}, "", ""},
	} {
		if got := slowBuild(c.has, c.says); got != c.want {
			t.Errorf("%v beside %q: %q, want %q", c.has, c.says, got, c.want)
		}
	}
}
