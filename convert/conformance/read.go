package conformance

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"quern/convert/gguf"
)

// reader takes the header of a GGUF file apart. Every length meets what is left of the file before memory is allocated.
type reader struct {
	in   *bufio.Reader
	at   int64
	size int64
	err  error
}

func readPlan(r io.ReaderAt, size int64) (*gguf.Plan, error) {
	d := &reader{in: bufio.NewReader(io.NewSectionReader(r, 0, size)), size: size}
	if magic, version := d.u32(), d.u32(); d.err == nil && (magic != 0x46554747 || version != 3) {
		return nil, fmt.Errorf("magic %#x, version %d: not a GGUF file of version 3", magic, version)
	}
	tensors, entries := d.u64(), d.u64()
	p := &gguf.Plan{FileSize: size}
	alignment := int64(32)
	for i := uint64(0); i < entries && d.err == nil; i++ {
		kv := gguf.KV{Key: d.text()}
		kv.Value = d.value(gguf.ValueType(d.u32()))
		if a, ok := kv.Value.(uint32); ok && kv.Key == "general.alignment" && a > 0 {
			alignment = int64(a)
		}
		p.Metadata = append(p.Metadata, kv)
	}
	for i := uint64(0); i < tensors && d.err == nil; i++ {
		p.Outputs = append(p.Outputs, d.output())
	}
	p.DataOffset = (d.at + alignment - 1) / alignment * alignment
	return p, d.err
}

func (d *reader) output() gguf.Output {
	o := gguf.Output{Name: d.text()}
	for range d.count(uint64(d.u32()), 8) {
		o.Shape = append(o.Shape, int64(d.u64()))
	}
	o.Type, o.Offset = gguf.Type(d.u32()), int64(d.u64())
	if d.err == nil && !o.Type.Valid() {
		d.err = fmt.Errorf("tensor %s: %v is not known", o.Name, o.Type)
		return o
	}
	if d.err == nil {
		o.Size = o.Type.RowBytes(o.Elements())
	}
	return o
}

func (d *reader) take(n int) []byte {
	b := make([]byte, n)
	if d.err == nil {
		_, d.err = io.ReadFull(d.in, b)
		d.at += int64(n)
	}
	return b
}

func (d *reader) u32() uint32 { return binary.LittleEndian.Uint32(d.take(4)) }
func (d *reader) u64() uint64 { return binary.LittleEndian.Uint64(d.take(8)) }

// count is n if n things of at least unit bytes can still stand in the file, else 0 and an error.
func (d *reader) count(n, unit uint64) int {
	if d.err == nil && n > uint64(d.size-d.at)/unit {
		d.err = fmt.Errorf("at byte %d: a count of %d does not fit in a file of %d bytes", d.at, n, d.size)
	}
	if d.err != nil {
		return 0
	}
	return int(n)
}

func (d *reader) text() string { return string(d.take(d.count(d.u64(), 1))) }

func (d *reader) value(t gguf.ValueType) any {
	switch t {
	case gguf.Uint8:
		return d.take(1)[0]
	case gguf.Int8:
		return int8(d.take(1)[0])
	case gguf.Uint16:
		return binary.LittleEndian.Uint16(d.take(2))
	case gguf.Int16:
		return int16(binary.LittleEndian.Uint16(d.take(2)))
	case gguf.Uint32:
		return d.u32()
	case gguf.Int32:
		return int32(d.u32())
	case gguf.Float32:
		return math.Float32frombits(d.u32())
	case gguf.Bool:
		return d.take(1)[0] != 0
	case gguf.String:
		return d.text()
	case gguf.Uint64:
		return d.u64()
	case gguf.Int64:
		return int64(d.u64())
	case gguf.Float64:
		return math.Float64frombits(d.u64())
	case gguf.Array:
		return d.array()
	}
	d.fail("value type %d is not known", t)
	return nil
}

func (d *reader) array() any {
	t, n := gguf.ValueType(d.u32()), d.u64()
	switch t {
	case gguf.String:
		return each(d, n, 8, d.text)
	case gguf.Uint8:
		return numbers[uint8](d, n)
	case gguf.Int8:
		return numbers[int8](d, n)
	case gguf.Uint16:
		return numbers[uint16](d, n)
	case gguf.Int16:
		return numbers[int16](d, n)
	case gguf.Uint32:
		return numbers[uint32](d, n)
	case gguf.Int32:
		return numbers[int32](d, n)
	case gguf.Float32:
		return numbers[float32](d, n)
	case gguf.Bool:
		return each(d, n, 1, func() bool { return d.take(1)[0] != 0 })
	case gguf.Uint64:
		return numbers[uint64](d, n)
	case gguf.Int64:
		return numbers[int64](d, n)
	case gguf.Float64:
		return numbers[float64](d, n)
	}
	d.fail("arrays of value type %d are not read", t)
	return nil
}

func (d *reader) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf("at byte %d: "+format, append([]any{d.at}, args...)...)
	}
}

func each[T any](d *reader, n, unit uint64, read func() T) []T {
	out := make([]T, d.count(n, unit))
	for i := range out {
		out[i] = read()
	}
	return out
}

func numbers[T uint8 | int8 | uint16 | int16 | uint32 | int32 | float32 | uint64 | int64 | float64](d *reader, n uint64) []T {
	var one T
	out := make([]T, d.count(n, uint64(binary.Size(one))))
	if d.err == nil {
		d.err = binary.Read(d.in, binary.LittleEndian, out)
		d.at += int64(binary.Size(out))
	}
	return out
}
