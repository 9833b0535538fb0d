package conformance

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"reflect"

	"quern/convert/gguf"
)

// Arrays and strings beyond these are compared by digest (the recording tool's limits).
const (
	longArray  = 24  // elements
	shownEnds  = 6   // elements shown of a long array, at either end
	longString = 400 // bytes
)

// Planned is a plan as data: everything but the bytes of the tensors.
func Planned(p *gguf.Plan) *File {
	f := &File{Version: 3, Size: p.FileSize, DataOffset: p.DataOffset}
	for _, kv := range p.Metadata {
		f.Metadata = append(f.Metadata, entry(kv))
	}
	for _, o := range p.Outputs {
		f.Tensors = append(f.Tensors, Stored{Name: o.Name, Type: o.Type.String(), Shape: o.Shape, Offset: o.Offset})
	}
	return f
}

// Written is a written file as data. It reads the file twice: once for the whole's digest, once tensor by tensor.
func Written(name string, r io.ReaderAt, size int64) (*File, error) {
	in, err := gguf.Read(name, r, size)
	if err != nil {
		return nil, err
	}
	p := &in.Plan
	f := Planned(p)
	f.Name, f.Version, f.Size = name, in.Version, size
	if f.SHA256, err = digest(r, 0, size); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	for i, o := range p.Outputs {
		if f.Tensors[i].SHA256, err = digest(r, p.DataOffset+o.Offset, o.Size); err != nil {
			return nil, fmt.Errorf("%s: tensor %s: %w", name, o.Name, err)
		}
	}
	return f, nil
}

func digest(r io.ReaderAt, offset, size int64) (string, error) {
	h := sha256.New()
	n, err := io.Copy(h, io.NewSectionReader(r, offset, size))
	if err == nil && n != size {
		err = fmt.Errorf("ends %d bytes early: %w", size-n, io.ErrUnexpectedEOF)
	}
	return hex.EncodeToString(h.Sum(nil)), err
}

var typeNames = map[reflect.Kind]string{
	reflect.Uint8: "u8", reflect.Int8: "i8", reflect.Uint16: "u16", reflect.Int16: "i16", reflect.Uint32: "u32", reflect.Int32: "i32",
	reflect.Float32: "f32", reflect.Bool: "bool", reflect.String: "str", reflect.Uint64: "u64", reflect.Int64: "i64", reflect.Float64: "f64",
	reflect.Slice: "arr",
}

func entry(kv gguf.KV) Entry {
	v := reflect.ValueOf(kv.Value)
	if v.Kind() != reflect.Slice {
		return Entry{kv.Key, typeNames[v.Kind()], canonical(scalar(v))}
	}
	kind := "arr:" + typeNames[v.Type().Elem().Kind()]
	if v.Len() <= longArray {
		return Entry{kv.Key, kind, canonical(elements(v, 0, v.Len()))}
	}
	// vocabularies have a hundred thousand elements: the digest tells whether, the ends help to see where
	sum := sha256.Sum256(payload(v))
	return Entry{kv.Key, kind, canonical(map[string]any{
		"count": v.Len(), "sha256": hex.EncodeToString(sum[:]),
		"first": elements(v, 0, shownEnds), "last": elements(v, v.Len()-shownEnds, v.Len()),
	})}
}

func elements(v reflect.Value, lo, hi int) []any {
	out := []any{}
	for i := lo; i < hi; i++ {
		out = append(out, plain(v.Index(i)))
	}
	return out
}

// scalar is a value outside an array, where long strings go by digest.
func scalar(v reflect.Value) any {
	if v.Kind() == reflect.String && v.Len() > longString {
		sum := sha256.Sum256([]byte(v.String()))
		return map[string]any{"bytes": v.Len(), "sha256": hex.EncodeToString(sum[:])}
	}
	return plain(v)
}

func plain(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Float32:
		return fmt.Sprintf("0x%08x", math.Float32bits(float32(v.Float())))
	case reflect.Float64:
		return fmt.Sprintf("0x%016x", math.Float64bits(v.Float()))
	case reflect.Slice:
		return elements(v, 0, v.Len())
	case reflect.Invalid:
		return nil
	}
	return json.RawMessage(canonical(v.Interface()))
}

// payload is an array's bytes in the file, after type and count.
func payload(v reflect.Value) []byte {
	var b bytes.Buffer
	switch v.Type().Elem().Kind() {
	case reflect.String:
		for i := range v.Len() {
			binary.Write(&b, binary.LittleEndian, uint64(v.Index(i).Len()))
			b.WriteString(v.Index(i).String())
		}
	case reflect.Slice:
		for i := range v.Len() {
			b.Write(payload(v.Index(i)))
		}
	default:
		binary.Write(&b, binary.LittleEndian, v.Interface())
	}
	return b.Bytes()
}
