package conformance

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"strings"
	"unicode/utf16"

	"github.com/x448/float16"

	"quern/convert/safetensors"
)

// Words is the endless row of 64-bit words that fills the tensor of a name.
type Words uint64

// NewWords is the row of words of a name.
func NewWords(name string) Words {
	h := fnv.New64a()
	h.Write([]byte(name))
	return Words(h.Sum64())
}

// At is word i: splitmix64 (Steele, Lea, Flood 2014) of the name's FNV-1a hash plus i.
func (w Words) At(i int64) uint64 {
	z := uint64(w) + uint64(i) + 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// Float is word i as a value in [-0.125, 0.125), a multiple of 2^-26: exact in float32.
func (w Words) Float(i int64) float32 {
	return (float32(w.At(i)>>40)*0x1p-24 - 0.5) * 0.25
}

// append adds the tensor's generated elements, little-endian.
func (t Tensor) append(out []byte) ([]byte, error) {
	w, n := NewWords(t.Name), t.elements()
	put, err := t.encoder()
	if err != nil {
		return nil, err
	}
	for i := range n {
		out = put(out, w, i)
	}
	return out, nil
}

type encoder func(out []byte, w Words, i int64) []byte

// encoder chooses how a word becomes an element of the tensor's type.
func (t Tensor) encoder() (encoder, error) {
	le := binary.LittleEndian
	integer := func(w Words, i int64) uint64 {
		if t.Mod != 0 {
			return w.At(i) % t.Mod
		}
		return w.At(i)
	}
	switch d := safetensors.DType(t.DType); d {
	case safetensors.F64:
		return func(out []byte, w Words, i int64) []byte {
			return le.AppendUint64(out, math.Float64bits(float64(w.Float(i))))
		}, nil
	case safetensors.F32:
		return func(out []byte, w Words, i int64) []byte { return le.AppendUint32(out, math.Float32bits(w.Float(i))) }, nil
	case safetensors.F16:
		return func(out []byte, w Words, i int64) []byte {
			return le.AppendUint16(out, float16.Fromfloat32(w.Float(i)).Bits())
		}, nil
	case safetensors.BF16:
		return func(out []byte, w Words, i int64) []byte {
			u := math.Float32bits(w.Float(i))
			return le.AppendUint16(out, uint16((u+0x7FFF+u>>16&1)>>16))
		}, nil
	case safetensors.Bool:
		return func(out []byte, w Words, i int64) []byte { return append(out, byte(integer(w, i)&1)) }, nil
	default:
		if strings.HasPrefix(t.DType, "F8") {
			// without the exponent's top bit the value is finite and small
			return func(out []byte, w Words, i int64) []byte { return append(out, byte(w.At(i))&0xBF) }, nil
		}
		size := d.Size()
		if size == 0 {
			return nil, fmt.Errorf("tensor %s: type %q is not one of safetensors", t.Name, t.DType)
		}
		return func(out []byte, w Words, i int64) []byte {
			var b [8]byte
			le.PutUint64(b[:], integer(w, i))
			return append(out, b[:size]...)
		}, nil
	}
}

// elements is the number of elements, maxCheckpoint+1 when that is exceeded or a dimension is negative.
func (t Tensor) elements() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		if d < 0 || d > maxCheckpoint || n*d > maxCheckpoint {
			return maxCheckpoint + 1
		}
		n *= d
	}
	return n
}

// bytes is the whole safetensors file; room is what the case may still use.
func (s Shard) bytes(metadata []Pair, room *int64) ([]byte, error) {
	offset := int64(0)
	ends := make([]int64, len(s.Tensors))
	for i, t := range s.Tensors {
		size := t.elements() * safetensors.DType(t.DType).Size()
		if t.elements() > maxCheckpoint || size > *room {
			return nil, fmt.Errorf("tensor %s: %v is more than the %d bytes a case may hold", t.Name, t.Shape, int64(maxCheckpoint))
		}
		*room -= size
		offset += size
		ends[i] = offset
	}
	h := s.header(metadata, ends)
	out := make([]byte, 0, 8+int64(len(h))+offset)
	out = binary.LittleEndian.AppendUint64(out, uint64(len(h)))
	out = append(out, h...)
	for _, t := range s.Tensors {
		var err error
		if out, err = t.append(out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// header is the file's JSON, padded. Of a name that stands twice, the first gives the place and the last the contents, as in a
// Python dictionary.
func (s Shard) header(metadata []Pair, ends []int64) string {
	var members, order []string
	if metadata != nil {
		var pairs []string
		for _, p := range metadata {
			pairs = append(pairs, quote(p.Key, false)+":"+quote(p.Value, false))
		}
		members = append(members, `"__metadata__":{`+strings.Join(pairs, ",")+"}")
	}
	entries := map[string]string{}
	for i, t := range s.Tensors {
		if _, twice := entries[t.Name]; !twice {
			order = append(order, t.Name)
		}
		shape := strings.ReplaceAll(strings.Trim(fmt.Sprint(t.Shape), "[]"), " ", ",")
		start := ends[i] - t.elements()*safetensors.DType(t.DType).Size()
		entries[t.Name] = fmt.Sprintf(`%s:{"dtype":"%s","shape":[%s],"data_offsets":[%d,%d]}`, quote(t.Name, false), t.DType, shape, start, ends[i])
	}
	for _, name := range order {
		members = append(members, entries[name])
	}
	h := "{" + strings.Join(members, ",") + "}"
	return h + strings.Repeat(" ", (8-len(h)%8)%8)
}

// index is model.safetensors.index.json as the recording tool lays it out: indented by one, ASCII only; a tensor that
// stands in two shards keeps the place of the first and the file of the last.
func index(shards []Shard) []byte {
	// in order of first appearance, as a dictionary that is filled shard by shard has it
	var names []string
	file := map[string]string{}
	for _, s := range shards {
		for _, t := range s.Tensors {
			if _, ok := file[t.Name]; !ok {
				names = append(names, t.Name)
			}
			file[t.Name] = s.File
		}
	}
	var b strings.Builder
	b.WriteString("{\n \"metadata\": {\n  \"total_size\": 0\n },\n \"weight_map\": {")
	for i, n := range names {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n  " + quote(n, true) + ": " + quote(file[n], true))
	}
	if len(names) > 0 {
		b.WriteString("\n ")
	}
	b.WriteString("}\n}")
	return []byte(b.String())
}

var escapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

// quote writes a JSON string with the escapes of Python's json module, which are fewer than Go's.
func quote(s string, ascii bool) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch e, ok := escapes[r]; {
		case ok:
			b.WriteString(e)
		case r < ' ' || ascii && r > '~' && r < 0x10000:
			fmt.Fprintf(&b, `\u%04x`, r)
		case ascii && r >= 0x10000:
			hi, lo := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, hi, lo)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
