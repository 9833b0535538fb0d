package pickle

// The bytes of a pickle, with the bound on their number. Lengths are believed only as far as bytes arrive.

import (
	"encoding/binary"
	"errors"
	"io"
)

// byte is the next opcode or character.
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
	// Before any memory is asked for.
	if n > MaxPickle-m.at {
		return nil, m.fail("%d more bytes, a pickle has at most %d", n, MaxPickle)
	}
	// In pieces of one page; a text of a megabyte is rare and costs the same.
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

// short tells a file that ends too soon from a source that fails.
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
	// Compared as an unsigned number: 2^63 and above must not turn negative.
	size := binary.LittleEndian.Uint64(w[:])
	if size > MaxPickle {
		return nil, m.fail("%d more bytes, a pickle has at most %d", size, MaxPickle)
	}
	return m.bytes(int64(size))
}

// line reads up to the next line end.
func (m *machine) line() (string, error) {
	const most = 4096 // bytes of a module's or class's name, or of a number
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
