package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"quern/convert/fault"
	"quern/pipeline"
	"quern/stages/source"
)

// Checked is a file whose bytes were compared with its receipt.
type Checked struct {
	Path   string `json:"path"`
	Size   int64  `json:"size"`
	Digest string `json:"digest"`
	OK     bool   `json:"ok"`
	Says   string `json:"says,omitempty"` // what differs
}

// Receipts finds the receipt of a file, or all receipts of a folder.
func Receipts(path string) ([]string, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !fi.IsDir() {
		if !strings.HasSuffix(path, Suffix) {
			path += Suffix
		}
		return []string{path}, nil
	}
	found, err := filepath.Glob(filepath.Join(path, "*"+Suffix))
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, &NoReceiptError{path}
	}
	sort.Strings(found)
	return found, nil
}

// Verify reads every byte of the files that a receipt is about, and tells ev how far it is. The error is a *fault.Invalid for the first that differs;
// all are in the result.
func Verify(ctx context.Context, receipt string, ev pipeline.Events) ([]Checked, *Receipt, error) {
	r, err := ReadReceipt(receipt)
	if err != nil {
		return nil, nil, err
	}
	var all []Checked
	var bad *Checked
	for _, o := range append(r.Outputs[:len(r.Outputs):len(r.Outputs)], r.Beside...) {
		c, err := check(ctx, filepath.Join(filepath.Dir(receipt), filepath.Base(o.Name)), o, ev)
		if err != nil {
			return all, r, err
		}
		all = append(all, c)
		if !c.OK && bad == nil {
			bad = &all[len(all)-1]
		}
	}
	if bad != nil {
		return all, r, &fault.Invalid{On: bad.Path, Says: bad.Says, Next: "make it again with `quern " + strings.Join(r.Arguments, " ") + "`"}
	}
	return all, r, nil
}

func check(ctx context.Context, path string, want FileDigest, ev pipeline.Events) (Checked, error) {
	c := Checked{Path: path}
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		c.Digest, c.Size, err = source.Digest(ctx, &told{f, ev, pipeline.Progress{Stage: "verify", Item: filepath.Base(path), Total: want.Size, Unit: "bytes"}, time.Now()})
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.Says = "is missing; the receipt names it"
		return c, nil
	case err != nil:
		return c, err
	case c.Size != want.Size:
		c.Says = fmt.Sprintf("has %d bytes, the receipt says %d", c.Size, want.Size)
	case c.Digest != want.Digest:
		c.Says = fmt.Sprintf("has digest %s, the receipt says %s", c.Digest, want.Digest)
	default:
		c.OK = true
	}
	return c, nil
}

// told says how far a long read is.
type told struct {
	r    io.Reader
	ev   pipeline.Events
	at   pipeline.Progress
	last time.Time
}

// Read implements io.Reader.
func (t *told) Read(b []byte) (int, error) {
	n, err := t.r.Read(b)
	t.at.Done += int64(n)
	if now := time.Now(); now.Sub(t.last) > 100*time.Millisecond {
		t.last = now
		t.ev.Emit(t.at)
	}
	return n, err
}
