package pickle

// Opcodes that hold their value: numbers and texts of protocols 0 to 5, as far as torch and its users write them.

import (
	"encoding/binary"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// constant pushes what an opcode holds by itself.
func (m *machine) constant(op byte) (bool, error) {
	var v any
	var err error
	switch op {
	// None is the nil that v is already.
	case 'N':
	case 0x88:
		v = true
	case 0x89:
		v = false
		// BININT1, BININT2, BININT
	case 'K', 'M', 'J':
		v, err = m.integer(map[byte]int64{'K': 1, 'M': 2, 'J': 4}[op])
		// INT, LONG: text, of protocol 0
	case 'I', 'L':
		v, err = m.decimal()
		// LONG1; LONG4 would allow integers of gigabytes and is refused
	case 0x8A:
		v, err = m.long()
		// BINFLOAT, the one big-endian value
	case 'G':
		var b []byte
		if b, err = m.bytes(8); err == nil {
			v = math.Float64frombits(binary.BigEndian.Uint64(b))
		}
	case 0x8C, 'X', 0x8D, 'U', 'T': // texts, the last two of Python 2
		var b []byte
		b, err = m.counted(map[byte]int64{0x8C: 1, 'X': 4, 0x8D: 8, 'U': 1, 'T': 4}[op])
		v = string(b)
		// SHORT_BINBYTES, BINBYTES, BINBYTES8
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
	// BININT alone is signed.
	v := int64(binary.LittleEndian.Uint64(w[:]))
	if n == 4 {
		v = int64(int32(v))
	}
	return v, nil
}

// decimal is a number in a line of text; "00" and "01" are booleans.
func (m *machine) decimal() (any, error) {
	// Python 2 wrote booleans as integers of two digits.
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
	// Sign extension: the top bit of the last byte is the sign.
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
	// Only the mark of the old layout is that long; it is positive, so the sign is of no interest.
	v := new(big.Int)
	for i := len(b) - 1; i >= 0; i-- {
		v.Lsh(v, 8).Or(v, big.NewInt(int64(b[i])))
	}
	return v, nil
}
