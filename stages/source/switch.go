package source

import (
	"io"
	"io/fs"
	"sync"
)

// Switch is a file system that can be exchanged under open files: a plan reads headers from the Hub, and once the files are on
// this disk the same plan reads them there.
type Switch struct {
	mu   sync.RWMutex
	cur  fs.FS
	turn int
}

// NewSwitch starts with src.
func NewSwitch(src fs.FS) *Switch { return &Switch{cur: src} }

// Use exchanges the file system. Files that are open read from the new one at their next read.
func (s *Switch) Use(src fs.FS) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cur, s.turn = src, s.turn+1
}

func (s *Switch) now() (fs.FS, int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.cur, s.turn
}

// Open opens a file of the file system in use. Files that can be read by range keep that.
func (s *Switch) Open(name string) (fs.File, error) {
	src, turn := s.now()
	f, err := src.Open(name)
	if err != nil {
		return nil, err
	}
	if _, ok := f.(io.ReaderAt); !ok {
		return f, nil
	}
	return &switchFile{File: f, s: s, name: name, turn: turn}, nil
}

// ReadDir lists a folder of the file system in use.
func (s *Switch) ReadDir(name string) ([]fs.DirEntry, error) {
	src, _ := s.now()
	return fs.ReadDir(src, name)
}

type switchFile struct {
	fs.File // for reading from the front: stays where it was opened
	s       *Switch
	name    string

	mu   sync.RWMutex
	turn int
	late fs.File // opened after an exchange; nil before
}

// ReadAt reads from the file system in use.
func (f *switchFile) ReadAt(b []byte, off int64) (int, error) {
	r, err := f.at()
	if err != nil {
		return 0, err
	}
	return r.ReadAt(b, off)
}

func (f *switchFile) at() (io.ReaderAt, error) {
	src, turn := f.s.now()
	f.mu.RLock()
	cur, same := f.current(), f.turn == turn
	f.mu.RUnlock()
	if same {
		return cur, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.turn == turn {
		return f.current(), nil
	}
	late, err := src.Open(f.name)
	if err != nil {
		return nil, err
	}
	r, ok := late.(io.ReaderAt)
	if !ok {
		late.Close()
		return nil, &fs.PathError{Op: "read by range", Path: f.name, Err: fs.ErrInvalid}
	}
	if f.late != nil {
		f.late.Close()
	}
	f.late, f.turn = late, turn
	return r, nil
}

// current is the file to read by range; Open and at have seen that it can.
func (f *switchFile) current() io.ReaderAt {
	if f.late != nil {
		return f.late.(io.ReaderAt)
	}
	return f.File.(io.ReaderAt)
}

// Close closes both.
func (f *switchFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.late != nil {
		f.late.Close()
	}
	return f.File.Close()
}
