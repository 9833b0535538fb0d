package recipe

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"quern/convert/gguf"
	"quern/convert/safetensors"
	"quern/convert/view"
	"quern/quantize/kernel"
)

// tensor is a stored tensor of normal values.
func tensor(name string, seed uint64, shape ...int64) (view.Tensor, []float32) {
	r := rand.New(rand.NewPCG(seed, 9))
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, v)
	return view.FromFile(safetensors.Entry{Name: name, DType: safetensors.F32, Shape: shape, Size: 4 * n}, bytes.NewReader(b.Bytes())), v
}

var goTypes = []gguf.Type{gguf.Q8_0, gguf.TQ1_0, gguf.TQ2_0, gguf.BF16, gguf.F16, gguf.F32}

func TestMeasureIsDeterministic(t *testing.T) {
	var subjects []Subject
	for i, name := range []string{"a", "b", "c", "d", "e"} {
		src, _ := tensor(name, uint64(i), 300, 512)
		subjects = append(subjects, Subject{Name: name, Source: src, Types: goTypes})
	}
	var first []Measured
	for workers := 1; workers <= 4; workers++ {
		names := 0
		got, err := Measure(context.Background(), subjects, kernel.Go(), MeasureOptions{Sample: 20_000, Workers: workers, Done: func(string) { names++ }})
		if err != nil {
			t.Fatal(err)
		}
		if names != len(subjects) {
			t.Errorf("%d of %d subjects reported", names, len(subjects))
		}
		if first == nil {
			first = got
		}
		if !reflect.DeepEqual(got, first) {
			t.Errorf("%d workers measure otherwise than one", workers)
		}
	}
}

// The whole tensor as the sample is the error itself.
func TestMeasureIsTheError(t *testing.T) {
	const rows, row = 6, 256
	src, v := tensor("w", 7, 2, rows/2, row)
	importance := make([]float32, 2*row)
	for i := range importance {
		importance[i] = float32(i%7) + 0.5
	}
	got, err := Measure(context.Background(), []Subject{{Name: "w", Source: src, Importance: importance, Types: append(goTypes, gguf.NVFP4)[:6]}}, kernel.Go(), MeasureOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for j, typ := range got[0].Types {
		back := make([]float32, row)
		num, den := 0.0, 0.0
		for r := range rows {
			x := v[r*row : (r+1)*row]
			switch typ {
			case gguf.F32:
				copy(back, x)
			case gguf.BF16, gguf.F16:
				copy(back, x)
				view.Round(back, map[gguf.Type]safetensors.DType{gguf.BF16: safetensors.BF16, gguf.F16: safetensors.F16}[typ])
			default:
				b := make([]byte, typ.RowBytes(row))
				if err := kernel.Go().Quantize(b, x, typ, row, nil); err != nil {
					t.Fatal(err)
				}
				if err := kernel.Go().Dequantize(back, b, typ); err != nil {
					t.Fatal(err)
				}
			}
			for i := range x {
				w := float64(importance[r/(rows/2)*row+i])
				num += w * float64(x[i]-back[i]) * float64(x[i]-back[i])
				den += w * float64(x[i]) * float64(x[i])
			}
		}
		if want := num / den; math.Abs(got[0].Errors[j]-want) > 1e-6*want {
			t.Errorf("%v: %v, want %v", typ, got[0].Errors[j], want)
		}
	}
	if got[0].Rows != rows {
		t.Errorf("%d rows", got[0].Rows)
	}
}

// Types whose blocks do not divide the rows are left out, and a few rows stand for many.
func TestMeasureSamples(t *testing.T) {
	src, _ := tensor("w", 1, 1000, 96)
	var errs [2]float64
	for i, sample := range []int64{1 << 12, 1 << 20} {
		got, err := Measure(context.Background(), []Subject{{Name: "w", Source: src, Types: goTypes}}, kernel.Go(), MeasureOptions{Sample: sample})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got[0].Types, []gguf.Type{gguf.Q8_0, gguf.BF16, gguf.F16, gguf.F32}) {
			t.Errorf("measured %v", got[0].Types)
		}
		errs[i] = got[0].Errors[0]
	}
	if math.Abs(errs[0]/errs[1]-1) > 0.1 {
		t.Errorf("42 rows give %v, all %v", errs[0], errs[1])
	}
}

func TestMeasureRefuses(t *testing.T) {
	good, _ := tensor("w", 1, 4, 64)
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, []float32{1, float32(math.Inf(-1)), 0, 0})
	infinite := view.FromFile(safetensors.Entry{DType: safetensors.F32, Shape: []int64{1, 4}, Size: 16}, bytes.NewReader(b.Bytes()))
	for want, s := range map[string]Subject{
		"row 0, column 1: -Inf": {Name: "w", Source: infinite, Types: goTypes[5:]},
		"importance of 10":      {Name: "w", Source: good, Importance: make([]float32, 10)},
		"in IQ2_S":              {Name: "w", Source: func() view.Tensor { x, _ := tensor("w", 1, 1, 256); return x }(), Types: []gguf.Type{gguf.IQ2S}},
	} {
		var e *Error
		if _, err := Measure(context.Background(), []Subject{s}, kernel.Go(), MeasureOptions{}); !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}
