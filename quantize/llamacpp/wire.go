package llamacpp

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"unsafe"
)

// The protocol between a parent and its worker: frames over two pipes, one request in flight. A frame is a kind byte,
// a length (uint32, little endian) and a body. The parent sends one message with Op; the worker answers with any number
// of progress messages and float frames, then with one message that has Result or Failure.

// Frame kinds.
const (
	FrameMessage byte = 'M' // a Message as JSON
	FrameFloats  byte = 'F' // float32 values, little endian
)

// MaxFrame bounds one frame: a text of a few million characters as a message, 8 million logits as floats.
const MaxFrame = 32 << 20

// Message is a frame of kind FrameMessage, in either direction.
type Message struct {
	Op       string          `json:"op,omitempty"`
	Args     json.RawMessage `json:"args,omitempty"`
	Progress *Progress       `json:"progress,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Failure  *Failure        `json:"failure,omitempty"`
}

// Progress is a sign of life: work done so far, in the unit of the operation (tokens, chunks, repetitions).
type Progress struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// Failure is an error of the worker that leaves it alive.
type Failure struct {
	Fault Fault    `json:"fault"`
	Op    string   `json:"op"`
	On    string   `json:"on,omitempty"`
	Says  string   `json:"says"`
	Next  string   `json:"next,omitempty"`
	Log   []string `json:"log,omitempty"`
}

func (f *Failure) err() error {
	return &Error{Fault: f.Fault, Op: f.Op, On: f.On, Says: f.Says, Next: f.Next, Log: f.Log}
}

// WriteFrame writes one frame. It is not safe for concurrent use.
func WriteFrame(w io.Writer, kind byte, body []byte) error {
	if len(body) > MaxFrame {
		return fmt.Errorf("frame of %d bytes, at most %d fit", len(body), MaxFrame)
	}
	head := make([]byte, 5, 5+min(len(body), 4096))
	head[0] = kind
	binary.LittleEndian.PutUint32(head[1:], uint32(len(body)))
	if len(body) <= 4096 {
		_, err := w.Write(append(head, body...))
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := w.Write(body)
	return err
}

// ReadFrame reads one frame; buf is reused when it is large enough. io.EOF means that the other side is gone between
// two frames.
func ReadFrame(r io.Reader, buf []byte) (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.LittleEndian.Uint32(head[1:])
	if head[0] != FrameMessage && head[0] != FrameFloats || n > MaxFrame {
		return 0, nil, fmt.Errorf("frame of kind %#x and %d bytes, at most %d are read", head[0], n, MaxFrame)
	}
	if uint32(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return head[0], buf, nil
}

// FloatBytes is the memory of v as bytes, without a copy. Both ends run on the same little-endian machine.
func FloatBytes(v []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}

// Floats reads little-endian float32 values.
func Floats(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}

// Number is a float64 that survives JSON also when it is not finite.
type Number float64

// MarshalJSON writes a number, or "NaN", "+Inf", "-Inf" as a string.
func (n Number) MarshalJSON() ([]byte, error) {
	f := float64(n)
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.AppendQuote(nil, strconv.FormatFloat(f, 'g', -1, 64)), nil
	}
	return strconv.AppendFloat(nil, f, 'g', -1, 64), nil
}

// UnmarshalJSON reads what MarshalJSON writes.
func (n *Number) UnmarshalJSON(b []byte) error {
	s := string(b)
	if len(b) > 0 && b[0] == '"' {
		var err error
		if s, err = strconv.Unquote(s); err != nil {
			return err
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	*n = Number(f)
	return err
}
