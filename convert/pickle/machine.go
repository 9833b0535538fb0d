// Package pickle reads PyTorch checkpoints (.bin, .pth, .pt): a pickle machine that knows tensors and plain
// containers and nothing else.
//
// A pickle is a program. This machine runs no code of the file's choosing: every opcode and every global that is not
// on its list ends the reading with its name. It does not recurse, and what it builds is bounded by MaxPickle and MaxObjects.
// Weights stay in the file: a tensor is a view of a range of it, with strides.
package pickle

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"strconv"
	"strings"

	"quern/convert/fault"
)

// Bounds on a pickle; a checkpoint of a thousand tensors has about 150 kB and 40,000 objects.
const (
	MaxPickle  = 64 << 20 // bytes
	MaxObjects = 1 << 22  // values on the stack, in containers and in the memo
	maxLong    = 64       // bytes of an integer
)

// The values of a pickle: nil, bool, int64, *big.Int, float64, string, []byte, tuple, *list, *dict, global, *storage, *tensor, size.
type (
	tuple []any
	list  struct{ items []any }
	dict  struct{ keys, values []any }
	// global is a name that the pickle asks for; only those of the table in torch.go come into being.
	global struct{ module, name string }
	mark   struct{}
)

func (g global) String() string { return g.module + "." + g.name }

// machine runs one pickle.
type machine struct {
	r       *bufio.Reader
	at      int64 // bytes read
	stack   []any
	memo    map[uint32]any
	objects int
	persist func(id tuple) (any, error) // resolves what stands outside of the pickle: storages
}

// run executes opcodes until STOP and returns the result.
func (m *machine) run() (any, error) {
	m.memo = map[uint32]any{}
	for {
		op, err := m.byte()
		if err != nil {
			return nil, err
		}
		if op == '.' {
			return m.pop()
		}
		if err := m.step(op); err != nil {
			return nil, err
		}
		if m.objects > MaxObjects {
			return nil, m.fail("it makes more than %d objects", MaxObjects)
		}
	}
}

func (m *machine) fail(format string, args ...any) error {
	return &fault.Invalid{On: fmt.Sprintf("pickle, byte %d", m.at), Says: fmt.Sprintf(format, args...)}
}

func (m *machine) refuse(format string, args ...any) error {
	return &fault.Unsupported{On: fmt.Sprintf("pickle, byte %d", m.at), Says: fmt.Sprintf(format, args...),
		Next: "it may run code when Python loads it; save the model's state_dict alone, or as safetensors"}
}

// step executes one opcode. The opcodes are those of Python's pickletools.py.
func (m *machine) step(op byte) error {
	if handled, err := m.constant(op); handled || err != nil {
		return err
	}
	switch op {
	case 0x80: // PROTO
		v, err := m.byte()
		if err == nil && v > 5 {
			err = m.fail("protocol %d, up to 5 are known", v)
		}
		return err
	case 0x95: // FRAME
		_, err := m.bytes(8)
		return err
	case '(':
		return m.push(mark{})
	case '0': // POP
		_, err := m.pop()
		return err
	case 'q', 'r', 0x94, 'h', 'j':
		return m.memory(op)
	case '}':
		return m.push(&dict{})
	case ']':
		return m.push(&list{})
	case ')':
		return m.push(tuple{})
	case 0x85, 0x86, 0x87, 't':
		return m.tuple(op)
	case 'a', 'e', 's', 'u':
		return m.fill(op)
	case 'c', 0x93:
		return m.global(op)
	case 'R', 0x81: // REDUCE, NEWOBJ
		return m.reduce()
	case 'b': // BUILD
		return m.build()
	case 'Q': // BINPERSID
		return m.persistent()
	}
	return m.refuse("opcode %s is not allowed", opName(op))
}

func opName(op byte) string {
	for name, c := range map[string]byte{"INST": 'i', "OBJ": 'o', "PERSID": 'P', "EXT1": 0x82, "EXT2": 0x83, "EXT4": 0x84, "NEWOBJ_EX": 0x92,
		"DUP": '2', "POP_MARK": '1', "EMPTY_SET": 0x8F, "FROZENSET": 0x91, "BYTEARRAY8": 0x96, "NEXT_BUFFER": 0x97, "DICT": 'd', "LIST": 'l', "STRING": 'S', "UNICODE": 'V'} {
		if c == op {
			return name
		}
	}
	return fmt.Sprintf("%#x", op)
}

// constant pushes what an opcode holds by itself.
func (m *machine) constant(op byte) (bool, error) {
	var v any
	var err error
	switch op {
	case 'N':
	case 0x88:
		v = true
	case 0x89:
		v = false
	case 'K', 'M', 'J':
		v, err = m.integer(map[byte]int64{'K': 1, 'M': 2, 'J': 4}[op])
	case 'I', 'L':
		v, err = m.decimal()
	case 0x8A:
		v, err = m.long()
	case 'G':
		var b []byte
		if b, err = m.bytes(8); err == nil {
			v = math.Float64frombits(binary.BigEndian.Uint64(b))
		}
	case 0x8C, 'X', 0x8D, 'U', 'T': // texts, the last two of Python 2
		var b []byte
		b, err = m.counted(map[byte]int64{0x8C: 1, 'X': 4, 0x8D: 8, 'U': 1, 'T': 4}[op])
		v = string(b)
	case 'C', 'B', 0x8E:
		v, err = m.counted(map[byte]int64{'C': 1, 'B': 4, 0x8E: 8}[op])
	default:
		return false, nil
	}
	if err != nil {
		return true, err
	}
	return true, m.push(v)
}

// integer is a number of n bytes; four bytes are signed.
func (m *machine) integer(n int64) (any, error) {
	b, err := m.bytes(n)
	if err != nil {
		return nil, err
	}
	var w [8]byte
	copy(w[:], b)
	v := int64(binary.LittleEndian.Uint64(w[:]))
	if n == 4 {
		v = int64(int32(v))
	}
	return v, nil
}

// decimal is a number in a line of text; "00" and "01" are booleans.
func (m *machine) decimal() (any, error) {
	s, err := m.line()
	if err != nil {
		return nil, err
	}
	if s == "00" || s == "01" {
		return s == "01", nil
	}
	v, err := strconv.ParseInt(strings.TrimSuffix(s, "L"), 10, 64)
	if err != nil {
		return nil, m.fail("%.40q is not an integer of 64 bits", s)
	}
	return v, nil
}

// long is an integer of any length, in two's complement.
func (m *machine) long() (any, error) {
	b, err := m.counted(1)
	if err != nil {
		return nil, err
	}
	if len(b) > maxLong {
		return nil, m.fail("an integer of %d bytes, the limit is %d", len(b), maxLong)
	}
	if len(b) <= 8 {
		v := int64(0)
		for i, c := range b {
			v |= int64(c) << (8 * i)
		}
		if shift := 64 - 8*len(b); len(b) > 0 {
			v = v << shift >> shift
		}
		return v, nil
	}
	v := new(big.Int)
	for i := len(b) - 1; i >= 0; i-- {
		v.Lsh(v, 8).Or(v, big.NewInt(int64(b[i])))
	}
	return v, nil
}

func (m *machine) memory(op byte) error {
	var n uint32
	switch op {
	case 0x94: // MEMOIZE
		n = uint32(len(m.memo))
	default:
		b, err := m.bytes(map[byte]int64{'q': 1, 'h': 1, 'r': 4, 'j': 4}[op])
		if err != nil {
			return err
		}
		var w [4]byte
		copy(w[:], b)
		n = binary.LittleEndian.Uint32(w[:])
	}
	if op == 'h' || op == 'j' {
		v, ok := m.memo[n]
		if !ok {
			return m.fail("memo %d is asked for before it is set", n)
		}
		return m.push(v)
	}
	v, err := m.pop()
	if err != nil {
		return err
	}
	if _, isMark := v.(mark); isMark {
		return m.fail("a mark is put into the memo")
	}
	m.memo[n] = v
	return m.push(v)
}

func (m *machine) tuple(op byte) error {
	if op == 't' {
		items, err := m.toMark()
		if err != nil {
			return err
		}
		return m.push(tuple(items))
	}
	n := int(op - 0x84)
	items := make(tuple, n)
	for i := n - 1; i >= 0; i-- {
		var err error
		if items[i], err = m.pop(); err != nil {
			return err
		}
	}
	return m.push(items)
}

// fill adds to the container on top: APPEND, APPENDS, SETITEM, SETITEMS.
func (m *machine) fill(op byte) error {
	var items []any
	var err error
	switch op {
	case 'e', 'u':
		items, err = m.toMark()
	case 'a', 's':
		n := map[byte]int{'a': 1, 's': 2}[op]
		items = make([]any, n)
		for i := n - 1; i >= 0 && err == nil; i-- {
			items[i], err = m.pop()
		}
	}
	if err != nil {
		return err
	}
	v, err := m.pop()
	if err != nil {
		return err
	}
	switch c := v.(type) {
	case *list:
		if op == 'a' || op == 'e' {
			c.items = append(c.items, items...)
			return m.push(c)
		}
	case *dict:
		if (op == 's' || op == 'u') && len(items)%2 == 0 {
			for i := 0; i < len(items); i += 2 {
				c.keys, c.values = append(c.keys, items[i]), append(c.values, items[i+1])
			}
			return m.push(c)
		}
	}
	return m.fail("items are added to %s", kind(v))
}

func (m *machine) global(op byte) error {
	var g global
	var err error
	if op == 'c' {
		if g.module, err = m.line(); err == nil {
			g.name, err = m.line()
		}
	} else {
		var name, module any
		if name, err = m.pop(); err == nil {
			module, err = m.pop()
		}
		var isText, isText2 bool
		g.name, isText = name.(string)
		g.module, isText2 = module.(string)
		if err == nil && !(isText && isText2) {
			err = m.fail("a global named by %s and %s", kind(module), kind(name))
		}
	}
	if err != nil {
		return err
	}
	if !known(g) {
		return m.refuse("it asks for %.200q, which is not one of the names that tensors need", g.String())
	}
	return m.push(g)
}

func (m *machine) persistent() error {
	v, err := m.pop()
	if err != nil {
		return err
	}
	id, ok := v.(tuple)
	if !ok || m.persist == nil {
		return m.fail("a reference to outside of the pickle by %s", kind(v))
	}
	if v, err = m.persist(id); err != nil {
		return err
	}
	return m.push(v)
}

func (m *machine) push(v any) error {
	m.stack = append(m.stack, v)
	m.objects++
	return nil
}

func (m *machine) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, m.fail("the stack is empty")
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v, nil
}

// toMark takes everything down to the last mark, in order.
func (m *machine) toMark() ([]any, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			items := append([]any(nil), m.stack[i+1:]...)
			m.stack = m.stack[:i]
			return items, nil
		}
	}
	return nil, m.fail("there is no mark on the stack")
}

func (m *machine) byte() (byte, error) {
	if m.at >= MaxPickle {
		return 0, m.fail("a pickle has at most %d bytes", MaxPickle)
	}
	b, err := m.r.ReadByte()
	if err != nil {
		return 0, m.short(err)
	}
	m.at++
	return b, nil
}

// bytes reads n bytes, in pieces, so that a length without its bytes costs nothing.
func (m *machine) bytes(n int64) ([]byte, error) {
	if n > MaxPickle-m.at {
		return nil, m.fail("%d more bytes, a pickle has at most %d", n, MaxPickle)
	}
	b := make([]byte, 0, min(n, 4096))
	for int64(len(b)) < n {
		k := min(n-int64(len(b)), 4096)
		b = append(b, make([]byte, k)...)
		if _, err := io.ReadFull(m.r, b[int64(len(b))-k:]); err != nil {
			return nil, m.short(err)
		}
	}
	m.at += n
	return b, nil
}

func (m *machine) short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return m.fail("it ends inside")
	}
	return err
}

// counted reads a length of n bytes and so many bytes.
func (m *machine) counted(n int64) ([]byte, error) {
	b, err := m.bytes(n)
	if err != nil {
		return nil, err
	}
	var w [8]byte
	copy(w[:], b)
	size := binary.LittleEndian.Uint64(w[:])
	if size > MaxPickle {
		return nil, m.fail("%d more bytes, a pickle has at most %d", size, MaxPickle)
	}
	return m.bytes(int64(size))
}

// line reads up to the next line end.
func (m *machine) line() (string, error) {
	const most = 4096 // a module's or a class's name, a number
	var b []byte
	for len(b) < most {
		c, err := m.byte()
		if err != nil {
			return "", err
		}
		if c == '\n' {
			return string(b), nil
		}
		b = append(b, c)
	}
	return "", m.fail("a line of more than %d bytes", most)
}

func kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "nothing"
	case mark:
		return "a mark"
	case tuple:
		return fmt.Sprintf("a tuple of %d", len(v))
	case *list:
		return "a list"
	case *dict:
		return "a dictionary"
	case global:
		return v.String()
	case *storage:
		return "a storage"
	case *tensor:
		return "a tensor"
	case string:
		return fmt.Sprintf("the text %.40q", v)
	case int64, *big.Int:
		return "an integer"
	}
	return fmt.Sprintf("a %T", v)
}
