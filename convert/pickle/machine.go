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
	"fmt"

	"quern/convert/fault"
)

// Bounds on a pickle; a checkpoint of a thousand tensors has about 150 kB and 40,000 objects.
const (
	MaxPickle  = 64 << 20 // bytes
	MaxObjects = 1 << 22  // values on the stack, in containers and in the memo
	maxLong    = 64       // bytes of an integer
)

// machine runs one pickle.
// A pickle of a checkpoint is some ten thousand opcodes. The machine is a loop over a stack, so nesting costs stack
// entries of its own and no frames of Go's; shared objects stay shared, so a bomb of references expands nowhere.
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
	// Each pickle has a memo of its own, also when several follow each other in a file.
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
		// Checked at every opcode, so that no opcode may make more than the pickle is long.
		if m.objects > MaxObjects {
			return nil, m.fail("it makes more than %d objects", MaxObjects)
		}
	}
}

// fail reports damage: what no writer writes.
func (m *machine) fail(format string, args ...any) error {
	return &fault.Invalid{On: fmt.Sprintf("pickle, byte %d", m.at), Says: fmt.Sprintf(format, args...)}
}

// refuse reports what a writer may write and this machine will not do.
func (m *machine) refuse(format string, args ...any) error {
	return &fault.Unsupported{On: fmt.Sprintf("pickle, byte %d", m.at), Says: fmt.Sprintf(format, args...),
		Next: "it may run code when Python loads it; save the model's state_dict alone, or as safetensors"}
}

// step executes one opcode. The opcodes are those of Python's pickletools.py.
func (m *machine) step(op byte) error {
	// Constants are most of a pickle; what is no constant changes the stack, the memo or a container.
	if handled, err := m.constant(op); handled || err != nil {
		return err
	}
	switch op {
	case 0x80: // PROTO
		// Protocol 2 is what torch writes; 3 to 5 differ in opcodes that are known here or refused one by one.
		v, err := m.byte()
		if err == nil && v > 5 {
			err = m.fail("protocol %d, up to 5 are known", v)
		}
		return err
	case 0x95: // FRAME
		// The length of a frame is for readers that read ahead.
		_, err := m.bytes(8)
		return err
	case '(':
		return m.push(mark{})
	case '0': // POP
		_, err := m.pop()
		return err
		// BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
	case 'q', 'r', 0x94, 'h', 'j':
		return m.memory(op)
	case '}':
		return m.push(&dict{})
	case ']':
		return m.push(&list{})
	case ')':
		return m.push(tuple{})
		// TUPLE1, TUPLE2, TUPLE3, TUPLE
	case 0x85, 0x86, 0x87, 't':
		return m.tuple(op)
		// APPEND, APPENDS, SETITEM, SETITEMS
	case 'a', 'e', 's', 'u':
		return m.fill(op)
		// GLOBAL, STACK_GLOBAL
	case 'c', 0x93:
		return m.global(op)
		// Making an object of a class with arguments is, for the classes that are known, a call.
	case 'R', 0x81: // REDUCE, NEWOBJ
		return m.reduce()
	case 'b': // BUILD
		return m.build()
	case 'Q': // BINPERSID
		return m.persistent()
	}
	return m.refuse("opcode %s is not allowed", opName(op))
}

// opName knows the names of the opcodes that people meet: those that other pickles have and that are refused.
func opName(op byte) string {
	for name, c := range map[string]byte{"INST": 'i', "OBJ": 'o', "PERSID": 'P', "EXT1": 0x82, "EXT2": 0x83, "EXT4": 0x84, "NEWOBJ_EX": 0x92,
		"DUP": '2', "POP_MARK": '1', "EMPTY_SET": 0x8F, "FROZENSET": 0x91, "BYTEARRAY8": 0x96, "NEXT_BUFFER": 0x97, "DICT": 'd', "LIST": 'l', "STRING": 'S', "UNICODE": 'V'} {
		if c == op {
			return name
		}
	}
	return fmt.Sprintf("%#x", op)
}

// memory runs the opcodes of the memo. Writers number entries as they come, but any number is allowed: it is a map.
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
	// A mark is not a value; one that came back from the memo would shift every later container.
	if _, isMark := v.(mark); isMark {
		return m.fail("a mark is put into the memo")
	}
	m.memo[n] = v
	return m.push(v)
}

// tuple takes one to three values, or all down to the mark.
func (m *machine) tuple(op byte) error {
	if op == 't' {
		items, err := m.toMark()
		if err != nil {
			return err
		}
		return m.push(tuple(items))
	}
	// The opcodes for one, two and three values follow each other.
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
	// The container stays on the stack. A pickle may put a list into itself: nothing here walks into values.
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

// global names what a call or a storage will need. The table decides, before anything is done with the name.
func (m *machine) global(op byte) error {
	var g global
	var err error
	if op == 'c' {
		if g.module, err = m.line(); err == nil {
			g.name, err = m.line()
		}
	} else {
		// Names from the stack may be any objects; those of a line are always texts.
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

// persistent resolves a reference to what stands beside the pickle: the only way in which weights enter.
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

// push counts: every object passes the stack once at least.
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
