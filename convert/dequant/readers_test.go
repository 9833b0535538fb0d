package dequant_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"quern/convert/config"
	"quern/convert/dequant"
	"quern/convert/fault"
	"quern/convert/safetensors"
	"quern/convert/view"
)

func stored(r *rand.Rand, name string, d safetensors.DType, shape ...int64) (view.Tensor, []byte) {
	t := view.Tensor{DType: d, Shape: shape}
	b := make([]byte, t.Elements()*d.Size())
	for i := range b {
		b[i] = byte(r.Uint32()) & 0xBF // no NaN and no infinity in any type
	}
	return view.FromReader(name, d, shape, bytes.NewReader(b), 0), b
}

// cuts reads a tensor whole and in random pieces, which must give the same bytes.
func cuts(t *testing.T, r *rand.Rand, v view.Tensor) []byte {
	t.Helper()
	whole := make([]byte, v.Rows()*v.RowBytes())
	if err := v.ReadRows(context.Background(), whole, 0, v.Rows()); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		lo := r.Int64N(v.Rows())
		hi := lo + 1 + r.Int64N(v.Rows()-lo)
		part := make([]byte, (hi-lo)*v.RowBytes())
		if err := v.ReadRows(context.Background(), part, lo, hi); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(part, whole[lo*v.RowBytes():hi*v.RowBytes()]) {
			t.Fatalf("rows %d to %d differ from those of the whole", lo, hi)
		}
	}
	return whole
}

func equal(t *testing.T, got []byte, want func(i int) float32) {
	t.Helper()
	for i := range len(got) / 4 {
		if g, w := math.Float32frombits(binary.LittleEndian.Uint32(got[4*i:])), want(i); g != w {
			t.Fatalf("element %d: got %v, want %v", i, g, w)
		}
	}
}

func word(b []byte, i int64) uint32 { return binary.LittleEndian.Uint32(b[4*i:]) }

// Every reader gives what the formula of its format says of each element by itself, in any cut into rows.
func TestReaders(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		t.Run(fmt.Sprintf("scaled/%d", seed), func(t *testing.T) {
			rows, cols, br, bc := 1+r.Int64N(300), 1+r.Int64N(300), 1+r.Int64N(70), 1+r.Int64N(70)
			w, wb := stored(r, "w", safetensors.I8, rows, cols)
			sr, sc := (rows+br-1)/br, (cols+bc-1)/bc
			s, sb := stored(r, "s", safetensors.U8, sr, sc)
			v, err := dequant.Scaled(w, s, []int64{br, bc})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, cuts(t, r, v), func(i int) float32 {
				y, x := int64(i)/cols, int64(i)%cols
				return float32(int8(wb[i])) * float32(sb[y/br*sc+x/bc])
			})
		})
		t.Run(fmt.Sprintf("gptq/%d", seed), func(t *testing.T) {
			bits := []int64{2, 4, 8}[r.IntN(3)]
			per := 32 / bits
			in, out, groups := per*(1+r.Int64N(20)), per*(1+r.Int64N(20)), 1+r.Int64N(5)
			c, cb := stored(r, "c", safetensors.I32, in/per, out)
			z, zb := stored(r, "z", safetensors.I32, groups, out/per)
			s, sb := stored(r, "s", safetensors.U8, groups, out)
			index := make([]int32, in)
			for i := range index {
				index[i] = int32(r.Int64N(groups))
			}
			g, err := view.Values("g", []int64{in}, index)
			if err != nil {
				t.Fatal(err)
			}
			less := r.IntN(2) == 0
			v, err := dequant.GPTQ{Codes: c, Zeros: z, Scales: s, Groups: g, Bits: bits, Less: less}.Tensor("w")
			if err != nil {
				t.Fatal(err)
			}
			mask := uint32(1)<<bits - 1
			equal(t, cuts(t, r, v), func(i int) float32 {
				o, x := int64(i)/in, int64(i)%in
				k := int64(index[x])
				code := word(cb, x/per*out+o) >> (x % per * bits) & mask
				zero := int32(word(zb, k*(out/per)+o/per) >> (o % per * bits) & mask)
				if less {
					zero++
				}
				return float32(sb[k*out+o]) * float32(int32(code)-zero)
			})
		})
		t.Run(fmt.Sprintf("packed/%d", seed), func(t *testing.T) {
			bits, group := 1+r.Int64N(8), 1+r.Int64N(9)
			per := 32 / bits
			rows, groups := 1+r.Int64N(60), 1+r.Int64N(30)
			cols := groups * group
			words := (cols + per - 1) / per
			c, cb := stored(r, "c", safetensors.I32, rows, words)
			s, sb := stored(r, "s", safetensors.U8, rows, groups)
			z, zb := stored(r, "z", safetensors.I32, (rows+per-1)/per, groups)
			extent, err := view.Values("e", []int64{2}, []int64{rows, cols})
			if err != nil {
				t.Fatal(err)
			}
			p := dequant.Packed{Codes: c, Scales: s, Extent: extent, Bits: bits, Group: group}
			if r.IntN(2) == 0 {
				p.Zeros = &z
			}
			v, err := p.Tensor("w")
			if err != nil {
				t.Fatal(err)
			}
			mask := uint32(1)<<bits - 1
			equal(t, cuts(t, r, v), func(i int) float32 {
				y, x := int64(i)/cols, int64(i)%cols
				code := int32(word(cb, y*words+x/per) >> (x % per * bits) & mask)
				zero := int32(1) << (bits - 1)
				if p.Zeros != nil {
					zero = int32(word(zb, y/per*groups+x/group) >> (y % per * bits) & mask)
				}
				return float32(code-zero) * float32(sb[y*groups+x/group])
			})
		})
		t.Run(fmt.Sprintf("ternary/%d", seed), func(t *testing.T) {
			quarter, cols := 1+r.Int64N(40), 1+r.Int64N(40)
			c, cb := stored(r, "c", safetensors.U8, quarter, cols)
			s, err := view.Values("s", []int64{1}, []float32{3})
			if err != nil {
				t.Fatal(err)
			}
			v, err := dequant.Ternary(c, s)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, cuts(t, r, v), func(i int) float32 {
				y, x := int64(i)/cols, int64(i)%cols
				return (float32(cb[y%quarter*cols+x]>>(2*(y/quarter))&3) - 1) / 3
			})
		})
	}
}

// Four-bit codes keep their value at every place of a block, and the scales stand where llama.cpp reads them.
func TestBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 4))
	for _, c := range []struct {
		name                          string
		group, scales, half, keepBits int64
		make                          func(codes, scales view.Tensor) (view.Tensor, error)
	}{{"MXFP4", 32, 1, 16, 0xFF, dequant.MXFP4}, {"NVFP4", 16, 4, 8, 0x7F, dequant.NVFP4}} {
		t.Run(c.name, func(t *testing.T) {
			const rows, cols = 37, 192
			codes, cb := stored(r, "c", safetensors.U8, rows, cols/2)
			scales, sb := stored(r, "s", safetensors.U8, rows, cols/c.group)
			v, err := c.make(codes, scales)
			if err != nil {
				t.Fatal(err)
			}
			got := cuts(t, r, v)
			size := c.scales + c.scales*c.half // bytes of a block
			for y := range int64(rows) {
				for x := range int64(cols) {
					group, at := x/c.group, x%c.group
					block := got[y*v.RowBytes()+group/c.scales*size:]
					if s := block[group%c.scales]; s != sb[y*cols/c.group+group]&byte(c.keepBits) {
						t.Fatalf("row %d, column %d: scale %x", y, x, s)
					}
					code := block[c.scales+group%c.scales*c.half+at%c.half] >> (at / c.half * 4) & 15
					if want := cb[y*cols/2+x/2] >> (x % 2 * 4) & 15; code != want {
						t.Fatalf("row %d, column %d: code %d, want %d", y, x, code, want)
					}
				}
			}
		})
	}
}

// Shapes that contradict each other are refused while the file is planned; a group that does not exist when it is read.
func TestRefusesContradictions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 5))
	tensor := func(d safetensors.DType, shape ...int64) view.Tensor { v, _ := stored(r, "t", d, shape...); return v }
	groups, _ := view.Values("g", []int64{16}, make([]int32, 16))
	for name, f := range map[string]func() (view.Tensor, error){
		"blocks that do not cover": func() (view.Tensor, error) {
			return dequant.Scaled(tensor(safetensors.I8, 300, 8), tensor(safetensors.F32, 2, 1), []int64{128, 128})
		},
		"more blocks than rows": func() (view.Tensor, error) {
			return dequant.Scaled(tensor(safetensors.I8, 100, 8), tensor(safetensors.F32, 2, 1), []int64{128, 128})
		},
		"scales of another row count": func() (view.Tensor, error) {
			return dequant.Scaled(tensor(safetensors.I8, 100, 8), tensor(safetensors.F32, 99, 1), nil)
		},
		"three bits": func() (view.Tensor, error) {
			return dequant.GPTQ{Codes: tensor(safetensors.I32, 2, 8), Zeros: tensor(safetensors.I32, 1, 1), Scales: tensor(safetensors.F16, 1, 8), Groups: groups, Bits: 33}.Tensor("w")
		},
		"zeros of another width": func() (view.Tensor, error) {
			return dequant.GPTQ{Codes: tensor(safetensors.I32, 2, 8), Zeros: tensor(safetensors.I32, 1, 2), Scales: tensor(safetensors.F16, 1, 8), Groups: groups, Bits: 4}.Tensor("w")
		},
		"odd MXFP4": func() (view.Tensor, error) {
			return dequant.MXFP4(tensor(safetensors.U8, 4, 17), tensor(safetensors.U8, 4, 1))
		},
		"NVFP4 of 48 columns": func() (view.Tensor, error) {
			return dequant.NVFP4(tensor(safetensors.U8, 4, 24), tensor(safetensors.F8E4M3, 4, 3))
		},
		"two scales of a ternary weight": func() (view.Tensor, error) {
			return dequant.Ternary(tensor(safetensors.U8, 4, 4), tensor(safetensors.F32, 2))
		},
	} {
		if _, err := f(); !errors.As(err, new(*fault.Invalid)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad, _ := view.Values("g", []int64{16}, append(make([]int32, 15), 7))
	v, err := dequant.GPTQ{Codes: tensor(safetensors.I32, 2, 8), Zeros: tensor(safetensors.I32, 1, 1), Scales: tensor(safetensors.F16, 1, 8), Groups: bad, Bits: 4}.Tensor("w")
	if err == nil {
		err = v.ReadRows(context.Background(), make([]byte, 8*16*4), 0, 8)
	}
	if !errors.As(err, new(*fault.Invalid)) {
		t.Errorf("group 7 of 1: %v", err)
	}
}

// What is not read is refused by the name that people know, with the checkpoint to convert instead where it is known.
func TestRefusesByName(t *testing.T) {
	u32 := view.Zeros("w", safetensors.U32, []int64{4, 4})
	mlx := []dequant.Tensor{{Name: "a.weight", View: u32}, {Name: "a.scales", View: view.Zeros("s", safetensors.F16, []int64{4, 1})}}
	cases := map[string]struct {
		q    config.Object
		list []dequant.Tensor
	}{
		"AWQ":          {config.Object{"quant_method": "awq"}, nil},
		"bitsandbytes": {config.Object{"quant_method": "bitsandbytes"}, nil},
		"MLX":          {config.Object{}, mlx},
		"GPTQ of 3":    {config.Object{"quant_method": "gptq", "bits": int64(3)}, nil},
		"2 groups":     {config.Object{"quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": config.Object{"a": config.Object{}, "b": config.Object{}}}, nil},
	}
	// transformers' other methods, by their own words
	for method, want := range map[string]string{"aqlm": "AQLM", "vptq": "VPTQ", "quanto": "Quanto", "eetq": "EETQ", "higgs": "HIGGS", "hqq": "HQQ",
		"fbgemm_fp8": "FBGEMM", "torchao": "TorchAO", "spqr": "SpQR", "quark": "Quark", "fp_quant": "FP-Quant", "auto-round": "AutoRound", "mxfp4": "MXFP4",
		"exl2": "ExLlama 2", "of-tomorrow": "of-tomorrow"} {
		cases[want] = struct {
			q    config.Object
			list []dequant.Tensor
		}{config.Object{"quant_method": method}, nil}
	}
	for want, c := range cases {
		err := dequant.NewSet(c.list).Apply(c.q, "org/model")
		var u *fault.Unsupported
		if !errors.As(err, &u) || !bytes.Contains([]byte(u.Says), []byte(want)) || !bytes.Contains([]byte(u.Next), []byte("org/model")) {
			t.Errorf("%s: %v", want, err)
		}
	}
	t.Logf("%d refused by name", len(cases))
}
