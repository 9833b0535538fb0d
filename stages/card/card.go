// Package card seals a folder of finished files: a model card for people and for the Hub, checksums, and records. All of it is made
// from the receipts in the folder, so that folders which were made in parts, or on several machines, are sealed alike.
package card

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"quern/stages/record"

	"github.com/google/renameio/v2"
)

// The names of what is written.
const (
	CardName    = "README.md"
	SumsName    = "SHA256SUMS"
	RecordsName = "records.jsonl"
)

// Seal writes card, checksums and records of all files in the folder that have receipts. Without any, what an earlier run wrote
// is taken away. changed tells whether a byte is another one than before.
func Seal(dir string) (changed bool, err error) {
	found, err := record.Receipts(dir)
	if err != nil && !errors.As(err, new(*record.NoReceiptError)) {
		return false, err
	}
	var rs []*record.Receipt
	for _, path := range found {
		r, err := record.ReadReceipt(path)
		if err != nil {
			return false, err
		}
		rs = append(rs, r)
	}
	files, err := Files(rs)
	if err != nil {
		return false, err
	}
	for name, data := range files {
		c, err := put(filepath.Join(dir, name), data)
		if err != nil {
			return changed, err
		}
		changed = changed || c
	}
	return changed, nil
}

// Files are card, checksums and records of a model's files by name, made from their receipts; nil for what is not to be there.
// The receipts are put in order: models before projectors, largest first.
func Files(rs []*record.Receipt) (map[string][]byte, error) {
	slices.SortStableFunc(rs, func(a, b *record.Receipt) int {
		if a.Projector() != b.Projector() {
			return cmp.Compare(rank(a), rank(b))
		}
		return cmp.Compare(size(b), size(a))
	})
	files := map[string][]byte{SumsName: nil, RecordsName: nil, CardName: nil}
	if len(rs) == 0 {
		return files, nil
	}
	files[SumsName] = Sums(rs)
	var err error
	if files[RecordsName], err = records(rs); err != nil {
		return nil, err
	}
	files[CardName], err = Card(rs)
	return files, err
}

// maxCard bounds what is read back of an earlier run.
const maxCard = 64 << 20

// put writes a file only where it differs; nil data takes it away.
func put(path string, data []byte) (bool, error) {
	f, err := os.Open(path)
	if err != nil && !os.IsNotExist(err) {
		return false, err
	}
	if err == nil {
		old, err := io.ReadAll(io.LimitReader(f, maxCard))
		f.Close()
		if err == nil && data != nil && bytes.Equal(old, data) {
			return false, nil
		}
		if data == nil {
			return true, os.Remove(path)
		}
	} else if data == nil {
		return false, nil
	}
	return true, renameio.WriteFile(path, data, 0o644)
}

// Sums is what `sha256sum -c` reads: a line for every part of every file, by name.
func Sums(rs []*record.Receipt) []byte {
	sums := map[string]string{}
	for _, r := range rs {
		for _, o := range r.Outputs {
			if d, ok := strings.CutPrefix(o.Digest, "sha256:"); ok {
				sums[o.Name] = d
			}
		}
	}
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(&b, "%s  %s\n", sums[name], name)
	}
	return b.Bytes()
}

// records has a line for every file that was tried.
func records(rs []*record.Receipt) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	for _, r := range rs {
		if r.Projector() || r.Smoke == nil && r.Bench == nil && r.Quality == nil {
			continue
		}
		if err := e.Encode(r.Record()); err != nil {
			return nil, err
		}
	}
	if b.Len() == 0 {
		return nil, nil
	}
	return b.Bytes(), nil
}

// rank puts models before the projectors that are loaded with them.
func rank(r *record.Receipt) int {
	if r.Projector() {
		return 1
	}
	return 0
}

// size is that of all parts.
func size(r *record.Receipt) int64 {
	n := int64(0)
	for _, o := range r.Outputs {
		n += o.Size
	}
	return n
}
