package build

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// The transcript of every operation on the file system, in order, in testdata/pending.
func TestPendingTranscript(t *testing.T) {
	datadriven.RunTest(t, "testdata/pending", func(t *testing.T, d *datadriven.TestData) string {
		disk := newDisk()
		if d.HasArg("fail") {
			d.ScanArgs(t, "fail", &disk.fail)
		}
		err := script(disk, d.Input)
		out := disk.log.String()
		if err != nil {
			out += "error: " + strings.ReplaceAll(err.Error(), "\n", "; ") + "\n"
		}
		for name, f := range disk.names {
			out += fmt.Sprintf("left: %s with %q\n", name, f.data)
		}
		return out
	})
}

// script runs "create NAME SIZE", "write OFFSET TEXT", "commit" and "discard", one a line.
func script(disk *fakeDisk, text string) error {
	var p *Pending
	for _, line := range strings.Split(text, "\n") {
		var err error
		var name, data string
		var n int64
		switch verb, _, _ := strings.Cut(line, " "); verb {
		case "create":
			_, _ = fmt.Sscanf(line, "create %s %d", &name, &n)
			p, err = CreateOn(disk, name, n)
		case "write":
			_, _ = fmt.Sscanf(line, "write %d %s", &n, &data)
			if _, err = p.WriteAt([]byte(data), n); err != nil {
				err = errors.Join(err, p.Discard())
			}
		case "commit":
			var sum Digest
			if sum, err = p.Commit(); err == nil {
				fmt.Fprintf(&disk.log, "digest %.16s\n", sum)
			}
		case "discard":
			err = p.Discard()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A crash at any operation leaves the old file or the whole new one, whatever of the renaming reached the disk.
func TestPendingCrash(t *testing.T) {
	const text = "create out/m.gguf 6\nwrite 3 def\nwrite 0 abc\ncommit"
	for at := 1; ; at++ {
		disk := newDisk()
		old := &fakeFile{disk: disk, flushed: []byte("old")}
		disk.names["out/m.gguf"], disk.durable["out/m.gguf"] = old, old
		disk.crashAt = at
		err := script(disk, text)
		for which, names := range map[string]map[string]*fakeFile{"seen": disk.names, "durable": disk.durable} {
			f := names["out/m.gguf"]
			if f == nil || string(f.flushed) != "old" && string(f.flushed) != "abcdef" {
				t.Errorf("crash at operation %d: the %s file is %+v after\n%s", at, which, f, disk.log.String())
			}
		}
		if err == nil {
			if f := disk.durable["out/m.gguf"]; string(f.flushed) != "abcdef" {
				t.Errorf("committed, but durable is %q", f.flushed)
			}
			if at < 8 {
				t.Errorf("only %d operations", at)
			}
			return
		}
		if !errors.Is(err, errCrash) {
			t.Fatalf("crash at operation %d: %v", at, err)
		}
	}
}

// The digest is the file's, whatever the order and number of writers; the real disk agrees.
func TestPendingDigest(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 9))
		data := make([]byte, r.IntN(5<<19))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		path := filepath.Join(t.TempDir(), "m.gguf")
		p, err := Create(path, int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		var pieces []span
		for at := 0; at < len(data); {
			n := min(1+r.IntN(200<<10), len(data)-at)
			pieces = append(pieces, span{int64(at), int64(at + n)})
			at += n
		}
		r.Shuffle(len(pieces), func(i, j int) { pieces[i], pieces[j] = pieces[j], pieces[i] })
		var wg sync.WaitGroup
		for g := range 3 {
			wg.Go(func() {
				for i := g; i < len(pieces); i += 3 {
					if _, err := p.WriteAt(data[pieces[i].lo:pieces[i].hi], pieces[i].lo); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		sum, err := p.Commit()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, data) || sum != Digest(sha256.Sum256(data)) {
			t.Fatalf("seed %d: %d bytes, digest %s, %v", seed, len(got), sum, err)
		}
		if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
			t.Errorf("left behind: %v", list)
		}
	}
}

// On the real disk a discarded output leaves nothing and an impossible one says why.
func TestPendingOnDisk(t *testing.T) {
	dir := t.TempDir()
	p, err := Create(filepath.Join(dir, "m.gguf"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(p.Discard(), p.Discard()); err != nil {
		t.Error(err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 0 {
		t.Errorf("left behind: %v", list)
	}
	if _, err := Create(filepath.Join(dir, "no", "m.gguf"), 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	var space *SpaceError
	if _, err := Create(filepath.Join(dir, "big.gguf"), 1<<60); !errors.As(err, &space) || space.Size != 1<<60 || space.Hint() == "" {
		t.Errorf("2^60 bytes: %v", err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 0 {
		t.Errorf("left behind: %v", list)
	}
	if _, err := Create(dir+"/", 1); err == nil {
		t.Error("a folder was taken for a file")
	}
}

// spans against a plain set of bytes.
func TestSpans(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		var s spans
		var in [40]bool
		for range 12 {
			lo := r.IntN(40)
			hi := lo + r.IntN(41-lo)
			s.add(int64(lo), int64(hi))
			for i := lo; i < hi; i++ {
				in[i] = true
			}
			front := 0
			for front < 40 && in[front] {
				front++
			}
			if s.front() != int64(front) {
				t.Fatalf("seed %d: front %d, want %d of %v", seed, s.front(), front, s)
			}
			hole, whole := s.gap(40)
			if whole != (front == 40) || !whole && (hole.lo != int64(front) || in[hole.hi-1]) {
				t.Fatalf("seed %d: gap %v %v of %v", seed, hole, whole, s)
			}
		}
	}
}
