package build

import (
	"fmt"

	"quern/convert/gguf"
	"quern/convert/safetensors"
)

// task is a job with what is needed for every slab worked out and checked once.
type task struct {
	*Job
	rows     int64
	rowLen   int64 // elements
	rowBytes int64 // of the source
	to       []target
	widen    bool // some target needs float32
	finite   bool // NaN and infinity are errors
	round    safetensors.DType
}

type target struct {
	Target
	rowBytes int64
	how      how
	dtype    safetensors.DType // of plain types
	end      int64             // offset of the first byte behind the tensor
	pad      int64             // zeros from there on
	matrices int64             // slices of Importance
}

// how a target's rows come about.
type how int

const (
	raw      how = iota // the source's bytes
	quiet               // the source's BF16, NaNs made quiet: what widening and rounding would give
	narrow              // rounded from float32
	quantize            // by the kernel
)

// dtypes are the plain GGUF types that a checkpoint has too.
var dtypes = map[gguf.Type]safetensors.DType{
	gguf.F32: safetensors.F32, gguf.F16: safetensors.F16, gguf.BF16: safetensors.BF16, gguf.F64: safetensors.F64,
	gguf.I8: safetensors.I8, gguf.I16: safetensors.I16, gguf.I32: safetensors.I32, gguf.I64: safetensors.I64,
}

func (r *run) add(j *Job) error {
	t := &task{Job: j, rows: j.Source.Rows(), rowLen: j.Source.RowLen(), rowBytes: j.Source.RowBytes()}
	fail := func(format string, args ...any) error {
		return &JobError{Tensor: j.Name, Says: fmt.Sprintf(format, args...)}
	}
	if t.rowLen > MaxRow {
		return fail("a row of %d elements, the limit is %d", t.rowLen, MaxRow)
	}
	switch j.Via {
	case gguf.F32:
	case gguf.F16, gguf.BF16:
		if t.round = dtypes[j.Via]; t.round == j.Source.DType {
			t.round = safetensors.Unknown
		}
	default:
		return fail("%s as the intermediate precision; F32, F16 and BF16 are", j.Via)
	}
	for _, to := range j.To {
		g := target{Target: to}
		if to.File < 0 || to.File >= len(r.files) {
			return fail("file %d of %d", to.File, len(r.files))
		}
		if says := g.plan(t, r); says != "" {
			return fail("%s", says)
		}
		g.end = to.Offset + t.rows*g.rowBytes
		if g.Alignment <= 0 {
			g.Alignment = gguf.DefaultAlignment
		}
		g.pad = gguf.Pad(t.rows*g.rowBytes, g.Alignment) - t.rows*g.rowBytes
		t.widen = t.widen || g.how == narrow || g.how == quantize
		t.finite = t.finite || g.how == quantize || r.Finite && !to.Copy && narrowTypes[to.Type]
		t.to = append(t.to, g)
	}
	t.widen = t.widen || t.finite
	if t.widen && !widens(j.Source.DType) {
		return fail("elements of type %s cannot be read as numbers", j.Source.DType)
	}
	r.tasks = append(r.tasks, t)
	r.left += t.rows * t.rowLen
	return nil
}

var narrowTypes = map[gguf.Type]bool{gguf.F32: true, gguf.F16: true, gguf.BF16: true}

// plan chooses how the target's rows come about; it returns why they cannot.
func (g *target) plan(t *task, r *run) string {
	if g.Copy {
		g.how, g.rowBytes = raw, t.rowBytes
		return ""
	}
	if !g.Type.Valid() {
		return fmt.Sprintf("unknown tensor %s", g.Type)
	}
	if t.rowLen%g.Type.Block() != 0 {
		return fmt.Sprintf("rows of %d elements as %s, which needs a multiple of %d", t.rowLen, g.Type, g.Type.Block())
	}
	g.rowBytes = g.Type.RowBytes(t.rowLen)
	g.dtype = dtypes[g.Type]
	same := g.dtype == t.Source.DType && (t.round == safetensors.Unknown || t.round == g.dtype)
	switch {
	case same && g.Type == gguf.BF16:
		g.how = quiet
	case same:
		g.how = raw
	case narrowTypes[g.Type]:
		g.how = narrow
	case g.Type.Quantized():
		return g.planQuantized(t, r)
	default:
		return fmt.Sprintf("%s cannot be converted to %s", t.Source.DType, g.Type)
	}
	return ""
}

func (g *target) planQuantized(t *task, r *run) string {
	g.how, g.matrices = quantize, 1
	if r.kernel == nil {
		return fmt.Sprintf("no kernel to quantize to %s", g.Type)
	}
	if !r.kernel.Supports(g.Type) {
		return fmt.Sprintf("kernel %q cannot quantize to %s", r.kernel.Name(), g.Type)
	}
	if n := int64(len(g.Importance)); n > 0 {
		g.matrices = n / max(1, t.rowLen)
		if n != g.matrices*t.rowLen || t.rows%g.matrices != 0 {
			return fmt.Sprintf("an importance of %d values for %d rows of %d", n, t.rows, t.rowLen)
		}
	}
	return ""
}
