package imatrix

import (
	"math"
	"strings"
	"testing"
)

func TestAccumulator(t *testing.T) {
	a, err := NewAccumulator(2, nil)
	if err != nil {
		t.Fatal(err)
	}
	add := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	add(a.Add("blk.0.attn_q.weight", []float32{1, 2, 3, 4}, 2, 0, 1))
	add(a.Add("blk.0.attn_q.weight", []float32{0.5, 0, 1, -1}, 2, 0, 1))
	add(a.AddExpert("blk.0.ffn_up_exps.weight", []float32{1, 1, 2, 2, 3, 3}, 2, 2, 4))
	add(a.AddExpert("blk.0.ffn_up_exps.weight", []float32{5, 0}, 2, 0, 4))
	add(a.Add("blk.0.attn_k_b.weight", []float32{1, 2}, 2, 0, 2))
	add(a.Add("blk.0.attn_k_b.weight", []float32{3, 4}, 2, 1, 2))
	m := a.Matrix("text.txt")
	if m.Chunks != 2 || m.Datasets[0] != "text.txt" {
		t.Errorf("%d chunks of %v", m.Chunks, m.Datasets)
	}
	for name, want := range map[string]Entry{
		"blk.0.attn_q.weight":      {Sums: []float32{11.25, 21}, Counts: []int64{4}},
		"blk.0.ffn_up_exps.weight": {Sums: []float32{25, 0, 0, 0, 14, 14, 0, 0}, Counts: []int64{1, 0, 3, 0}},
		"blk.0.attn_k_b.weight":    {Sums: []float32{1, 4, 9, 16}, Counts: []int64{1}},
	} {
		e := m.Find(name)
		if e == nil || !equal(e.Sums, want.Sums) || !equal(e.Counts, want.Counts) {
			t.Errorf("%s: %+v, want %+v", name, e, want)
		}
	}
	again, err := NewAccumulator(2, m)
	if err != nil {
		t.Fatal(err)
	}
	add(again.Add("blk.0.attn_q.weight", []float32{1, 0}, 2, 0, 1))
	if e := again.Matrix().Find("blk.0.attn_q.weight"); e.Sums[0] != 12.25 || e.Counts[0] != 5 || m.Find(e.Name).Counts[0] != 4 {
		t.Errorf("gone on from a matrix: %+v, the matrix %+v", e, m.Find(e.Name))
	}
}

func equal[T comparable](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func TestAccumulatorRefuses(t *testing.T) {
	a, err := NewAccumulator(512, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.AddExpert("w", []float32{1, 2}, 2, 0, 4); err != nil {
		t.Fatal(err)
	}
	for want, err := range map[string]error{
		"expert 4 of 4":    a.AddExpert("w", []float32{1, 2}, 2, 4, 4),
		"in rows of 2":     a.AddExpert("w", []float32{1, 2, 3}, 2, 0, 4),
		"so far, now":      a.AddExpert("w", []float32{1, 2, 3}, 3, 0, 4),
		"rows of 0":        a.Add("v", nil, 0, 0, 1),
		"matrix 1, column": a.AddExpert("w", []float32{0, float32(math.Inf(1))}, 2, 1, 4),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if _, err := NewAccumulator(0, nil); err == nil {
		t.Error("chunks of no tokens")
	}
}

func TestNames(t *testing.T) {
	for in, want := range map[string]string{"CUDA0#blk.0.attn_k.weight#0": "blk.0.attn_k.weight", "blk.1.x": "blk.1.x", "a#b": "b"} {
		if got := TensorName(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	if !Wants("x", true, 1, false, false) || Wants("blk.0.q", false, 15, true, false) || !Wants("blk.0.q", false, 16, true, false) ||
		Wants("output.weight", false, 16, true, false) || !Wants("output.weight", false, 16, true, true) || Wants("blk.0.q", false, 16, false, false) {
		t.Error("Wants differs from llama-imatrix")
	}
}
