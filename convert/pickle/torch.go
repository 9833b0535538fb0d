package pickle

// What torch puts into a pickle to rebuild a tensor (torch/_utils.py, torch/serialization.py, torch/_weights_only_unpickler.py).

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"quern/convert/safetensors"
)

// storage is a piece of the file that tensors share.
type storage struct {
	key   string
	dtype safetensors.DType // Unknown for bytes whose type each tensor tells
	numel int64             // in elements of dtype, or bytes
	at    int64             // in the file; set when the archive is known
	found bool
}

// tensor is a view of a storage: offset and strides in elements.
type tensor struct {
	storage *storage
	dtype   safetensors.DType
	offset  int64
	shape   []int64
	strides []int64
}

// storageTypes are the classes that name an element type.
// Quantized storages (QInt8Storage, ...) are left out on purpose: their tensors need scales that no converter reads.
var storageTypes = map[string]safetensors.DType{
	"FloatStorage": safetensors.F32, "DoubleStorage": safetensors.F64, "HalfStorage": safetensors.F16, "BFloat16Storage": safetensors.BF16,
	"LongStorage": safetensors.I64, "IntStorage": safetensors.I32, "ShortStorage": safetensors.I16, "CharStorage": safetensors.I8,
	"ByteStorage": safetensors.U8, "BoolStorage": safetensors.Bool, "ComplexFloatStorage": safetensors.C64, "UntypedStorage": safetensors.Unknown,
}

// dtypes are torch's element types by name, for tensors over untyped storages.
var dtypes = map[string]safetensors.DType{
	"float32": safetensors.F32, "float64": safetensors.F64, "float16": safetensors.F16, "bfloat16": safetensors.BF16,
	"float8_e4m3fn": safetensors.F8E4M3, "float8_e5m2": safetensors.F8E5M2, "float8_e8m0fnu": safetensors.F8E8M0,
	"float8_e4m3fnuz": safetensors.F8E4M3FNUZ, "float8_e5m2fnuz": safetensors.F8E5M2FNUZ,
	"int64": safetensors.I64, "int32": safetensors.I32, "int16": safetensors.I16, "int8": safetensors.I8,
	"uint64": safetensors.U64, "uint32": safetensors.U32, "uint16": safetensors.U16, "uint8": safetensors.U8,
	"bool": safetensors.Bool, "complex64": safetensors.C64,
}

// The names beside storages and element types that come into being.
var (
	orderedDict  = global{"collections", "OrderedDict"}
	rebuild      = global{"torch._utils", "_rebuild_tensor"}
	rebuildV2    = global{"torch._utils", "_rebuild_tensor_v2"}
	rebuildV3    = global{"torch._utils", "_rebuild_tensor_v3"}
	rebuildParam = global{"torch._utils", "_rebuild_parameter"}
	rebuildType  = global{"torch._tensor", "_rebuild_from_type_v2"}
	parameter    = global{"torch.nn.parameter", "Parameter"}
	plainTensor  = global{"torch", "Tensor"}
	size         = global{"torch", "Size"}
)

// known tells whether a pickle may name g.
// Names are compared whole: torch.storage.x.y is no way to reach what a module imports.
func known(g global) bool {
	switch g {
	case orderedDict, rebuild, rebuildV2, rebuildV3, rebuildParam, rebuildType, parameter, plainTensor, size:
		return true
	}
	if g.module == "torch" || g.module == "torch.storage" {
		if _, ok := storageTypes[g.name]; ok {
			return true
		}
		_, ok := dtypes[g.name]
		return ok && g.module == "torch"
	}
	return false
}

// reduce calls the function below its arguments.
func (m *machine) reduce() error {
	// The arguments stand on top of the function.
	args, err := m.pop()
	if err != nil {
		return err
	}
	fn, err := m.pop()
	if err != nil {
		return err
	}
	in, ok := args.(tuple)
	g, isName := fn.(global)
	if !ok || !isName {
		return m.fail("a call of %s with %s", kind(fn), kind(args))
	}
	v, err := m.call(g, in)
	if err != nil {
		return err
	}
	return m.push(v)
}

// call does what the allowed functions do, as far as tensors need it. Gradients, hooks and names of devices are ignored.
func (m *machine) call(g global, args tuple) (any, error) {
	switch g {
	case orderedDict:
		return m.newDict(args)
	case size:
		if len(args) == 1 {
			if t, ok := args[0].(tuple); ok {
				return t, nil
			}
		}
	case rebuild, rebuildV2, rebuildV3:
		return m.tensor(g, args)
	case rebuildParam: // data, requires_grad, backward_hooks
		if len(args) >= 1 {
			if t, ok := args[0].(*tensor); ok {
				return t, nil
			}
		}
		// Tensors with attributes of their own; the attributes are dropped.
	case rebuildType: // function, class, arguments, state
		if len(args) == 4 {
			fn, isName := args[0].(global)
			in, isTuple := args[2].(tuple)
			if isName && isTuple && fn != rebuildType && (args[1] == any(parameter) || args[1] == any(plainTensor)) {
				return m.call(fn, in)
			}
		}
	default:
		return nil, m.refuse("a call of %s", g)
	}
	return nil, m.fail("a call of %s with %d arguments of other kinds than it takes", g, len(args))
}

// newDict is an OrderedDict, empty or of a list of pairs, as Python 2 wrote it.
func (m *machine) newDict(args tuple) (any, error) {
	// Keys are not compared here: the same key twice shows when the tensors are listed.
	d := &dict{}
	if len(args) == 0 {
		return d, nil
	}
	// A list that is used for many dictionaries is copied for each: the copies count as objects.
	pairs, ok := args[0].(*list)
	if !ok || len(args) > 1 {
		return nil, m.fail("an OrderedDict of %s", kind(args[0]))
	}
	for _, it := range pairs.items {
		var key, value any
		switch it := it.(type) {
		case tuple:
			if len(it) == 2 {
				key, value, ok = it[0], it[1], true
			} else {
				ok = false
			}
		case *list:
			if ok = len(it.items) == 2; ok {
				key, value = it.items[0], it.items[1]
			}
		default:
			ok = false
		}
		if !ok {
			return nil, m.fail("an OrderedDict of a list that holds %s", kind(it))
		}
		d.keys, d.values = append(d.keys, key), append(d.values, value)
		m.objects++
	}
	return d, nil
}

// build sets attributes: those of a dictionary (_metadata) and of a tensor mean nothing here.
func (m *machine) build() error {
	if _, err := m.pop(); err != nil {
		return err
	}
	v, err := m.pop()
	if err != nil {
		return err
	}
	switch v.(type) {
	case *dict, *tensor:
		return m.push(v)
	}
	return m.refuse("attributes are set on %s", kind(v))
}

// tensor rebuilds one from (storage, offset, size, stride, ...) and holds it against its storage.
func (m *machine) tensor(g global, args tuple) (any, error) {
	if len(args) < 4 {
		return nil, m.fail("%s with %d arguments", g, len(args))
	}
	s, ok := args[0].(*storage)
	if !ok {
		return nil, m.fail("%s of %s instead of a storage", g, kind(args[0]))
	}
	t := &tensor{storage: s, dtype: s.dtype}
	// Element types without a storage class of their own (float8, the wide unsigned integers) come this way.
	if g == rebuildV3 { // ..., requires_grad, backward_hooks, dtype
		name, isName := any(nil), false
		if len(args) >= 7 {
			name = args[6]
		}
		var n global
		if n, isName = name.(global); isName {
			t.dtype, isName = dtypes[n.name]
		}
		if !isName {
			return nil, m.fail("%s without an element type", g)
		}
	}
	if t.dtype == safetensors.Unknown {
		return nil, m.fail("a tensor of an untyped storage without an element type")
	}
	// All four are checked together: a file in which one is wrong is not worth telling them apart.
	var okShape, okStrides bool
	t.offset, ok = args[1].(int64)
	t.shape, okShape = naturals(args[2])
	t.strides, okStrides = naturals(args[3])
	if !ok || t.offset < 0 || !okShape || !okStrides || len(t.shape) != len(t.strides) {
		return nil, m.fail("a tensor whose offset, shape or strides are not natural numbers, or more than %d dimensions", safetensors.MaxDims)
	}
	if says := t.check(); says != "" {
		return nil, m.fail("a tensor of %s", says)
	}
	return t, nil
}

// naturals reads a shape or strides: torch.Size and tuples, lists from Python 2. Torch knows no negative strides.
func naturals(v any) ([]int64, bool) {
	in, ok := v.(tuple)
	if !ok {
		if l, isList := v.(*list); isList {
			in, ok = l.items, true
		}
	}
	if !ok || len(in) > safetensors.MaxDims {
		return nil, false
	}
	out := make([]int64, len(in))
	for i, x := range in {
		n, isInt := x.(int64)
		if !isInt || n < 0 {
			return nil, false
		}
		out[i] = n
	}
	return out, true
}

// maxRepeated bounds tensors whose elements stand for others too: masks and positions of models have some thousands.
const maxRepeated = 1 << 20

// check tells what of the tensor lies outside of its storage, and nothing when all is inside.
func (t *tensor) check() string {
	elements := int64(1)
	for _, n := range t.shape {
		if n != 0 && elements > (math.MaxInt64>>4)/n {
			return fmt.Sprintf("shape %v, which has more than 2^59 elements", t.shape)
		}
		elements *= n
	}
	// An empty tensor touches no element, wherever it points.
	if elements == 0 {
		return ""
	}
	// The largest index that any element has, in steps that cannot overflow.
	last := t.offset
	for i, n := range t.shape {
		// A dimension of size 1 is never stepped along: torch leaves any stride there.
		if step := t.strides[i]; n > 1 {
			if step > (math.MaxInt64-last)/(n-1) {
				return fmt.Sprintf("shape %v with strides %v, which end beyond 2^63", t.shape, t.strides)
			}
			last += step * (n - 1)
		}
	}
	// An untyped storage counts bytes.
	has := t.storage.numel
	if t.storage.dtype == safetensors.Unknown {
		has /= t.dtype.Size()
	}
	// This is the check that keeps a tensor from reading another's weights or what stands behind the file's data.
	if last >= has {
		return fmt.Sprintf("shape %v with strides %v at offset %d, whose last element %d lies outside of a storage of %d", t.shape, t.strides, t.offset, last, has)
	}
	if t.overlaps(elements) {
		return fmt.Sprintf("shape %v with strides %v, whose elements lie over one another", t.shape, t.strides)
	}
	return ""
}

// overlaps tells whether two elements may share a place: a few bytes could then claim to be any number of them. From the smallest
// stride on, each must step over all that the ones before it reach. Torch writes small tensors that repeat a value along a dimension.
func (t *tensor) overlaps(elements int64) bool {
	order := make([]int, 0, len(t.shape))
	for i, n := range t.shape {
		if n > 1 && t.strides[i] == 0 && elements <= maxRepeated {
			continue
		}
		if n > 1 {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(t.strides[a], t.strides[b]) })
	reach := int64(0)
	for _, i := range order {
		if t.strides[i] <= reach {
			return true
		}
		reach += t.strides[i] * (t.shape[i] - 1)
	}
	return false
}
