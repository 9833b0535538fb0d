package view

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"math"
	"testing"

	"quern/convert/fault"
	"quern/convert/safetensors"
)

// What a checkpoint's shapes cannot be cut to is an error that names the tensor, never a panic.
func TestRefusals(t *testing.T) {
	w := Zeros("w", safetensors.F32, []int64{6, 4})
	v := Zeros("v", safetensors.F16, []int64{6, 4})
	scalar := Zeros("s", safetensors.F32, nil)
	c64 := Zeros("c", safetensors.C64, []int64{2})
	one := func(t Tensor, err error) error { return err }
	many := func(t []Tensor, err error) error { return err }
	for name, err := range map[string]error{
		"slice beyond":          one(Slice(w, 0, 2, 7)),
		"slice backwards":       one(Slice(w, 1, 3, 2)),
		"slice no dimension":    one(Slice(w, 2, 0, 1)),
		"slice of scalar":       one(Slice(scalar, 0, 0, 1)),
		"concat types":          one(Concat(0, w, v)),
		"concat shapes":         one(Concat(0, w, Zeros("u", safetensors.F32, []int64{6, 5}))),
		"concat ranks":          one(Concat(0, w, Zeros("u", safetensors.F32, []int64{6}))),
		"concat nothing":        one(Concat(0)),
		"stack nothing":         one(Stack()),
		"gather beyond":         one(Gather(w, 0, []int64{6})),
		"gather negative":       one(Gather(w, 0, []int64{-1})),
		"pad to less":           one(PadRows(w, 5)),
		"reshape":               one(Reshape(w, 5, 5)),
		"reshape two free":      one(Reshape(w, -1, -1)),
		"reshape rest":          one(Reshape(w, -1, 5)),
		"reshape overflow":      one(Reshape(w, 1<<40, 1<<40)),
		"reshape free zero":     one(Reshape(w, 0, -1)),
		"squeeze":               one(Squeeze(w, 0)),
		"unsqueeze":             one(Unsqueeze(w, 4)),
		"transpose vector":      one(Transpose(scalar)),
		"permute twice":         one(Permute(w, 0, 0)),
		"permute short":         one(Permute(w, 0)),
		"rotary heads":          one(Rotary(w, 4)),
		"rotary none":           one(Rotary(w, 0)),
		"rotary scalar":         one(Rotary(scalar, 1)),
		"regroup":               many(Regroup(w, 2, 1, 1)),
		"regroup none":          many(Regroup(w, 0)),
		"split sizes":           many(Split(w, 0, 2, 3)),
		"split no dimension":    many(Split(w, 5)),
		"cast to integer":       one(Cast(w, safetensors.I32)),
		"cast of complex":       one(Cast(c64, safetensors.F32)),
		"map of integers":       one(Map(Zeros("i", safetensors.I32, nil), func([]float32) {})),
		"integer map of floats": one(MapInts(w, safetensors.I32, func(int64, []int64) {})),
		"zip shapes":            one(Zip(safetensors.F32, nil, w, scalar)),
		"zip nothing":           one(Zip(safetensors.F32, nil)),
	} {
		var bad *fault.Invalid
		if !errors.As(err, &bad) {
			t.Errorf("%s: %v, want *fault.Invalid", name, err)
		}
	}
}

func TestShortFileIsAnError(t *testing.T) {
	w := FromFile(safetensors.Entry{Name: "w", DType: safetensors.F32, Shape: []int64{2, 2}, Size: 16}, bytes.NewReader(make([]byte, 15)))
	if err := w.ReadRows(context.Background(), make([]byte, 16), 0, 2); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short file: %v", err)
	}
	if err := w.ReadRows(context.Background(), make([]byte, 16), 1, 3); err == nil {
		t.Error("rows beyond the tensor were read")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := w.ReadRows(ctx, make([]byte, 8), 0, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestPackedTypesComeAsBytes(t *testing.T) {
	w := FromFile(safetensors.Entry{Name: "w", DType: safetensors.F4, Shape: []int64{3, 8}, Size: 12}, bytes.NewReader(make([]byte, 12)))
	if w.DType != safetensors.U8 || w.Rows() != 3 || w.RowBytes() != 4 {
		t.Errorf("F4 [3 8] comes as %s %v", w.DType, w.Shape)
	}
}

func TestEachAndWhole(t *testing.T) {
	ctx := context.Background()
	w, err := Values("w", []int64{2, 3}, []int64{1, -2, 3, 4, 5, 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	if err := Each(ctx, w, func(_ int64, v []float32) error {
		for _, x := range v {
			sum += float64(x)
		}
		return nil
	}); err != nil || sum != 11+1<<40 {
		t.Errorf("sum %v, %v", sum, err)
	}
	if ns, err := Ints(ctx, w); err != nil || ns[1] != -2 || ns[5] != 1<<40 {
		t.Errorf("integers %v, %v", ns, err)
	}
	if _, err := Floats(ctx, Zeros("big", safetensors.F32, []int64{MaxWhole + 1})); err == nil {
		t.Error("a tensor above MaxWhole was read at once")
	}
	if _, err := Values("w", []int64{2}, []float32{1}); err == nil {
		t.Error("one value for two elements")
	}
}

// Deferred keeps success, not failure, and refuses what it did not promise.
func TestDeferred(t *testing.T) {
	calls := 0
	d := Deferred("d", safetensors.F32, []int64{2}, func(ctx context.Context) (Tensor, error) {
		calls++
		if calls == 1 {
			return Tensor{}, context.DeadlineExceeded
		}
		return Values("x", []int64{2}, []float32{1, float32(calls)})
	})
	ctx := context.Background()
	if _, err := Floats(ctx, d); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("first: %v", err)
	}
	for range 2 {
		if v, err := Floats(ctx, d); err != nil || v[1] != 2 {
			t.Errorf("then: %v, %v", v, err)
		}
	}
	wrong := Deferred("d", safetensors.F32, []int64{3}, func(ctx context.Context) (Tensor, error) { return d, nil })
	if _, err := Floats(ctx, wrong); err == nil {
		t.Error("another shape than promised was taken")
	}
}

// The bits of every half and bfloat16 survive; the halfway points round to even.
func TestRounding(t *testing.T) {
	for i := range 1 << 16 {
		h := FromF16(uint16(i))
		if got := F16(h); got != uint16(i) && !math.IsNaN(float64(h)) {
			t.Fatalf("half %#x comes back as %#x", i, got)
		}
		b := math.Float32frombits(uint32(i) << 16)
		if got := BF16(b); got != uint16(i) && !(math.IsNaN(float64(b)) && got == uint16(i)|0x40) {
			t.Fatalf("bfloat16 %#x comes back as %#x", i, got)
		}
		if up := FromF16(uint16(i) + 1); i&0x7FFF < 0x7BFF && i&0x7FFF != 0 {
			mid := float32((float64(h) + float64(up)) / 2)
			want := uint16(i) + uint16(i)&1
			if got := F16(mid); got != want {
				t.Fatalf("between halves %#x and the next: %#x, want %#x", i, got, want)
			}
			if got := F16(math.Nextafter32(mid, up)); got != uint16(i)+1 {
				t.Fatalf("above the middle of %#x: %#x", i, got)
			}
		}
	}
	for v, want := range map[float32]uint16{65519.996: 0x7BFF, 65520: 0x7C00, 1e30: 0x7C00, -1e30: 0xFC00, 5.9604645e-08: 1, 2.9802322e-08: 0} {
		if got := F16(v); got != want {
			t.Errorf("F16(%v) = %#x, want %#x", v, got, want)
		}
	}
}

// The digests are those of gguf-py's quantize to F16 and BF16 over every 65537th bit pattern, NaNs too, and six NaNs more.
func TestRoundingEqualsReference(t *testing.T) {
	f16, bf16 := sha256.New(), sha256.New()
	var b [2]byte
	add := func(u uint32) {
		v := math.Float32frombits(u)
		binary.LittleEndian.PutUint16(b[:], F16(v))
		f16.Write(b[:])
		binary.LittleEndian.PutUint16(b[:], BF16(v))
		bf16.Write(b[:])
	}
	for u := uint64(0); u < 1<<32; u += 65537 {
		add(uint32(u))
	}
	for _, u := range []uint32{0x7f800001, 0x7fc00000, 0xff800001, 0xffc12345, 0x7f802000, 0x7fffffff} {
		add(u)
	}
	if got := hex.EncodeToString(f16.Sum(nil)); got != "568732e986e1c1f5bfdd7252e717ebd2f0cf7a73b6905bedcd614d8d255cc1b1" {
		t.Errorf("F16: digest %s", got)
	}
	if got := hex.EncodeToString(bf16.Sum(nil)); got != "4ef7d9c06362e4a86954b2bcc8db9aa8636428b184e85442a3058e521be72fc7" {
		t.Errorf("BF16: digest %s", got)
	}
}

// Widening agrees with the definitions of the small types.
func TestWidenSmallTypes(t *testing.T) {
	for _, c := range []struct {
		d    safetensors.DType
		in   []byte
		want float32
	}{
		{safetensors.F8E4M3, []byte{0x01}, 0.001953125}, {safetensors.F8E4M3, []byte{0x7E}, 448}, {safetensors.F8E4M3, []byte{0xB8}, -1},
		{safetensors.F8E5M2, []byte{0x01}, 1.0 / 65536}, {safetensors.F8E5M2, []byte{0x7B}, 57344}, {safetensors.F8E5M2, []byte{0xBC}, -1},
		{safetensors.F8E8M0, []byte{127}, 1}, {safetensors.F8E8M0, []byte{0}, float32(math.Ldexp(1, -127))}, {safetensors.F8E8M0, []byte{254}, float32(math.Ldexp(1, 127))},
		{safetensors.Bool, []byte{2}, 1}, {safetensors.I8, []byte{0x80}, -128}, {safetensors.U8, []byte{0x80}, 128},
		{safetensors.I16, []byte{0, 0x80}, -32768}, {safetensors.U16, []byte{0, 0x80}, 32768},
		{safetensors.I32, []byte{255, 255, 255, 255}, -1}, {safetensors.U32, []byte{255, 255, 255, 255}, 4294967296},
		{safetensors.I64, []byte{255, 255, 255, 255, 255, 255, 255, 255}, -1}, {safetensors.U64, []byte{255, 255, 255, 255, 255, 255, 255, 255}, 18446744073709551616},
		{safetensors.F64, []byte{0, 0, 0, 0, 0, 0, 0xF0, 0x3F}, 1}, {safetensors.F32, []byte{0, 0, 0x80, 0x3F}, 1},
	} {
		var got [1]float32
		if err := Widen(got[:], c.in, c.d); err != nil || got[0] != c.want {
			t.Errorf("%s %x = %v, %v, want %v", c.d, c.in, got[0], err, c.want)
		}
	}
	var v [2]float32
	if err := Widen(v[:], []byte{0x7F, 0xFF}, safetensors.F8E4M3); err != nil || v[0] == v[0] || v[1] == v[1] {
		t.Errorf("NaNs of E4M3: %v, %v", v, err)
	}
	if err := Widen(v[:], make([]byte, 16), safetensors.C64); err == nil {
		t.Error("complex numbers were widened")
	}
}
