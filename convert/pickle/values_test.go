package pickle

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"math/big"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"quern/convert/safetensors"
)

func run(pickle string) (any, error) {
	m := &machine{r: bufio.NewReader(strings.NewReader(pickle))}
	return m.run()
}

// What each opcode that holds its value makes of it, as Python's pickle documents it.
func TestConstants(t *testing.T) {
	long := new(big.Int).Lsh(big.NewInt(1), 71)
	for pickle, want := range map[string]any{
		"N.": nil, "\x88.": true, "\x89.": false, "I00\n.": false, "I01\n.": true,
		"K\xff.": int64(255), "M\xff\xff.": int64(65535), "J\xff\xff\xff\xff.": int64(-1), "J\xff\xff\xff\x7f.": int64(1<<31 - 1),
		"I-7\n.": int64(-7), "L12L\n.": int64(12),
		"\x8a\x00.": int64(0), "\x8a\x01\xff.": int64(-1), "\x8a\x02\xff\x00.": int64(255),
		"\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.": int64(-1 << 63), "\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x80.": long,
		"G\x3f\xf8\x00\x00\x00\x00\x00\x00.": 1.5,
		"\x8c\x02ab.":                        "ab", "X\x02\x00\x00\x00ab.": "ab", "\x8d\x02\x00\x00\x00\x00\x00\x00\x00ab.": "ab", "U\x02ab.": "ab", "T\x02\x00\x00\x00ab.": "ab",
		"C\x02ab.": []byte("ab"), "B\x02\x00\x00\x00ab.": []byte("ab"), "\x8e\x02\x00\x00\x00\x00\x00\x00\x00ab.": []byte("ab"),
		").": tuple{}, "K\x01\x85.": tuple{int64(1)}, "K\x01N\x86.": tuple{int64(1), nil}, "K\x01NN\x87.": tuple{int64(1), nil, nil}, "(K\x01Nt.": tuple{int64(1), nil},
		"].": &list{}, "]K\x01a.": &list{items: []any{int64(1)}}, "](K\x01Ne.": &list{items: []any{int64(1), nil}},
		"}U\x01aK\x01s.": &dict{keys: []any{"a"}, values: []any{int64(1)}}, "}(U\x01aK\x01U\x01bNu.": &dict{keys: []any{"a", "b"}, values: []any{int64(1), nil}},
		"K\x01q\x05h\x05\x86.": tuple{int64(1), int64(1)}, "K\x01r\x05\x01\x00\x00j\x05\x01\x00\x00\x86.": tuple{int64(1), int64(1)}, "K\x01\x94h\x00\x86.": tuple{int64(1), int64(1)},
		"K\x01K\x020.": int64(1),
		"\x80\x04\x95\x02\x00\x00\x00\x00\x00\x00\x00K\x01.": int64(1),
		"ctorch\nSize\n(K\x01K\x02t\x85R.":                   tuple{int64(1), int64(2)},
		"ccollections\nOrderedDict\n)R}b.":                   &dict{},
		"ccollections\nOrderedDict\n]U\x01aK\x01\x86a\x85R.": &dict{keys: []any{"a"}, values: []any{int64(1)}},
		"ccollections\nOrderedDict\n](](U\x01aK\x01ee\x85R.": &dict{keys: []any{"a"}, values: []any{int64(1)}},
	} {
		got, err := run(pickle)
		if err != nil {
			t.Errorf("%q: %v", pickle, err)
			continue
		}
		if b, ok := want.(*big.Int); ok {
			if g, ok := got.(*big.Int); !ok || g.Cmp(b) != 0 {
				t.Errorf("%q = %v, want %v", pickle, got, want)
			}
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%q = %#v, want %#v", pickle, got, want)
		}
	}
}

// A shared object stays one object, and a list may hold itself.
func TestSharedObjects(t *testing.T) {
	v, err := run("]q\x00h\x00\x86.")
	if err != nil {
		t.Fatal(err)
	}
	if p := v.(tuple); p[0] != p[1] {
		t.Error("two lists were made of one")
	}
	if v, err = run("]q\x00h\x00a."); err != nil || v.(*list).items[0] != v {
		t.Errorf("a list in itself: %v, %v", kind(v), err)
	}
}

// Tensors of random shape, strides and offset over a storage read as their definition says: element i is at
// offset + sum of index x stride.
func TestStridesEqualDefinition(t *testing.T) {
	const elements = 3000
	data := make([]byte, 4*elements)
	for i := range elements {
		binary.LittleEndian.PutUint32(data[4*i:], uint32(i))
	}
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 11))
		x := random(r, elements)
		if says := x.check(); says != "" {
			continue // outside of the storage: refused, as the hostile files show
		}
		v, err := x.lazy("t", bytes.NewReader(data))
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !slices.Equal(v.Shape, x.shape) {
			t.Fatalf("seed %d: shape %v, want %v", seed, v.Shape, x.shape)
		}
		got := make([]byte, v.Rows()*v.RowBytes())
		if err := v.ReadRows(context.Background(), got, 0, v.Rows()); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for i := range v.Elements() {
			at, rest := x.offset, i
			for d := len(x.shape) - 1; d >= 0; d-- {
				at += rest % x.shape[d] * x.strides[d]
				rest /= x.shape[d]
			}
			if have := binary.LittleEndian.Uint32(got[4*i:]); int64(have) != at {
				t.Fatalf("seed %d: %v strides %v offset %d: element %d is %d, want %d", seed, x.shape, x.strides, x.offset, i, have, at)
			}
		}
	}
}

// random is a tensor as torch makes them: a permutation of something contiguous, a slice of that, or any strides.
func random(r *rand.Rand, elements int64) *tensor {
	x := &tensor{storage: &storage{dtype: safetensors.I32, numel: elements}, dtype: safetensors.I32, offset: r.Int64N(20)}
	n := r.IntN(5)
	for range n {
		x.shape, x.strides = append(x.shape, 1+r.Int64N(5)), append(x.strides, r.Int64N(40))
	}
	if r.IntN(3) > 0 {
		next := int64(1)
		for _, d := range r.Perm(n) {
			x.strides[d] = next
			next *= x.shape[d]
			if r.IntN(6) == 0 {
				next += r.Int64N(4) // a gap: a slice
			}
		}
	}
	if n > 0 && r.IntN(5) == 0 {
		x.shape[r.IntN(n)] = 0
	}
	return x
}
