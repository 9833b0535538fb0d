package set

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
)

// comparer is a writer that accepts what a file holds at the same place.
type comparer struct {
	path string
	r    io.Reader
	buf  []byte
}

// Write fails at the first difference.
func (c *comparer) Write(b []byte) (int, error) {
	if len(c.buf) < len(b) {
		c.buf = make([]byte, len(b))
	}
	if _, err := io.ReadFull(c.r, c.buf[:len(b)]); err != nil {
		return 0, err
	}
	if !bytes.Equal(c.buf[:len(b)], b) {
		return 0, fmt.Errorf("%s: its header is not the plan's", c.path)
	}
	return len(b), nil
}

func compare(path string, write func(*comparer) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return write(&comparer{path: path, r: bufio.NewReaderSize(f, 1<<20)})
}
