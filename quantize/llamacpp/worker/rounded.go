package worker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"os"

	"github.com/klauspost/compress/zstd"

	"quern/quantize/llamacpp"
)

// rounded is a row of log-probabilities in 16 bits a token, rounded as llama-perplexity does for its logits file: the
// range is cut 16 nats below the greatest, and divided into 65535 steps. Divergences are always taken from rounded
// rows, in step or through a file, so that both ways give the same numbers, and the reference's.
type rounded struct {
	step float32
	low  float32 // log-probability of code 0
	nll  float32 // exact negative log-likelihood of the token that follows: the cut would make it too small
	code []uint16
}

const rangeNats = 16

// set rounds a row and keeps the exact likelihood of the token that follows. bad counts logits that are not finite.
func (r *rounded) set(row []float32, next int32) (bad int64) {
	greatest, ls, bad := logSum(row)
	r.nll = float32(float64(greatest) + ls - float64(row[next]))
	least := greatest
	for _, l := range row {
		least = min(least, l)
	}
	least = max(least, greatest-rangeNats)
	logsum := float32(ls)
	r.low = least - greatest - logsum
	r.step = (greatest - least) / 65535
	if cap(r.code) < len(row) {
		r.code = make([]uint16, len(row))
	}
	r.code = r.code[:len(row)]
	clear(r.code)
	if r.step == 0 || r.step != r.step {
		return bad
	}
	inverse := 1 / r.step
	for i, l := range row {
		if l > least {
			r.code[i] = uint16(math.RoundToEven(float64(inverse * (l - least))))
		}
	}
	return bad
}

// at is the log-probability of token i. The product is rounded before the sum, on every platform.
func (r *rounded) at(i int) float32 { return float32(r.step*float32(r.code[i])) + r.low }

// The logits file: a header, then the rounded rows of all predicted positions in order, compressed by zstd.
const (
	fileMagic   = "quernKL1"
	headerBytes = len(fileMagic) + 4*4 + 8
	rowHead     = 3 * 4 // bytes of a row before its codes
)

// fileHeader binds a file to a text, a chunk length and a vocabulary: a file of other ones is refused.
type fileHeader struct {
	length, chunks, from, vocab uint32
	digest                      uint64 // of the tokens
}

func headerOf(m *model, t *text) fileHeader {
	h := fnv.New64a()
	_ = binary.Write(h, binary.LittleEndian, t.tokens[:t.chunks*t.length]) // a hash takes every byte
	return fileHeader{uint32(t.length), uint32(t.chunks), uint32(t.from), uint32(m.nVocab), h.Sum64()}
}

func (h fileHeader) bytes() []byte {
	b := append(make([]byte, 0, headerBytes), fileMagic...)
	for _, v := range []uint32{h.length, h.chunks, h.from, h.vocab} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return binary.LittleEndian.AppendUint64(b, h.digest)
}

// rowWriter writes a logits file and refuses to grow beyond its bound.
type rowWriter struct {
	file    *os.File
	zw      *zstd.Encoder
	buf     []byte
	written int64
	limit   int64
}

func newRowWriter(path string, h fileHeader, limit int64) (*rowWriter, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	w := &rowWriter{file: f, limit: limit}
	if w.limit <= 0 {
		w.limit = math.MaxInt64
	}
	if _, err := w.Write(h.bytes()); err != nil {
		f.Close()
		return nil, err
	}
	w.zw, err = zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	return w, err
}

// Write counts what reaches the file.
func (w *rowWriter) Write(p []byte) (int, error) {
	if w.written+int64(len(p)) > w.limit {
		return 0, &llamacpp.Error{Fault: llamacpp.Refused, Op: "divergence", Says: fmt.Sprintf("the source's logits need more than the %d bytes that are allowed", w.limit), Next: "take fewer chunks, or hold source and candidate in memory together"}
	}
	n, err := w.file.Write(p)
	w.written += int64(n)
	return n, err
}

// put appends one row: step, lowest value, exact likelihood, then the codes.
func (w *rowWriter) put(r *rounded) error {
	b := w.buf[:0]
	for _, v := range []float32{r.step, r.low, r.nll} {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	for _, c := range r.code {
		b = binary.LittleEndian.AppendUint16(b, c)
	}
	w.buf = b
	_, err := w.zw.Write(b)
	return err
}

// close ends the file, whose header is written again: the text may have been cut short.
func (w *rowWriter) close(h fileHeader) error {
	err := w.zw.Close()
	if _, werr := w.file.WriteAt(h.bytes(), 0); err == nil {
		err = werr
	}
	return errors.Join(err, w.file.Close())
}

// rowReader reads a logits file whose header says the same as the text at hand.
type rowReader struct {
	file *os.File
	zr   *zstd.Decoder
	buf  []byte
}

func newRowReader(path string, want fileHeader) (*rowReader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	head := make([]byte, headerBytes)
	r := bufio.NewReaderSize(f, 1<<20)
	if _, err := io.ReadFull(r, head); err != nil || string(head) != string(want.bytes()) {
		f.Close()
		return nil, &llamacpp.Error{Fault: llamacpp.Refused, Op: "divergence", On: path, Says: "the file holds logits of another text, vocabulary or chunk length"}
	}
	zr, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderConcurrency(1))
	if err != nil {
		f.Close()
		return nil, err
	}
	return &rowReader{file: f, zr: zr, buf: make([]byte, rowHead+2*int(want.vocab))}, nil
}

// next reads the next row into memory that is used again.
func (r *rowReader) next(to *rounded) error {
	if _, err := io.ReadFull(r.zr, r.buf); err != nil {
		return &llamacpp.Error{Fault: llamacpp.Refused, Op: "divergence", On: r.file.Name(), Says: "the logits file ends early", Err: err}
	}
	to.step = math.Float32frombits(binary.LittleEndian.Uint32(r.buf))
	to.low = math.Float32frombits(binary.LittleEndian.Uint32(r.buf[4:]))
	to.nll = math.Float32frombits(binary.LittleEndian.Uint32(r.buf[8:]))
	n := (len(r.buf) - rowHead) / 2
	if cap(to.code) < n {
		to.code = make([]uint16, n)
	}
	to.code = to.code[:n]
	for i := range to.code {
		to.code[i] = binary.LittleEndian.Uint16(r.buf[rowHead+2*i:])
	}
	return nil
}

func (r *rowReader) close() {
	r.zr.Close()
	r.file.Close()
}
