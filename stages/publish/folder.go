// Package publish brings a folder of finished files to where others, or other programs of this machine, find them: the Hub, an OCI
// registry, a folder, Ollama, LM Studio, llama.cpp's cache.
//
// Held by tests:
//   - Nothing leaves that its receipt does not verify, at the time of publishing.
//   - Hidden names, and files without receipts, stay.
//   - A licence that forbids passing a model on stops what leaves this machine.
//   - What the other side has already is not sent again, so that the same command continues one that was killed.
package publish

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"quern/convert/gguf"
	"quern/pipeline"
	"quern/stages/card"
	"quern/stages/record"
)

// Asset is a file to be published: on this disk, or in memory where it is made for the occasion.
type Asset struct {
	Name   string
	Path   string // on this disk; empty: Data
	Data   []byte
	Size   int64
	SHA256 string // 64 hexadecimal digits
}

// Model is a finished model: its parts in order, what is loaded with it, and what it says about itself.
type Model struct {
	Receipt   *record.Receipt
	Parts     []Asset
	Projector []Asset
	Header    *gguf.File // of the first part
	Weights   int64      // of all parts
}

func (m Model) size() int64 {
	n := int64(0)
	for _, p := range m.Parts {
		n += p.Size
	}
	return n
}

// read reads the headers of all parts.
func (m *Model) read() error {
	for _, p := range m.Parts {
		file, err := os.Open(p.Path)
		if err != nil {
			return err
		}
		h, err := gguf.Read(p.Name, file, p.Size)
		file.Close()
		if err != nil {
			return err
		}
		if m.Header == nil {
			m.Header = h
		}
		for _, t := range h.Outputs {
			n := int64(1)
			for _, d := range t.Shape {
				n *= d
			}
			m.Weights += n
		}
	}
	return nil
}

// Text is a text of the model's metadata; empty where there is none.
func (m Model) Text(key string) string {
	v, _ := m.Header.Lookup(key)
	s, _ := v.(string)
	return s
}

// Folder is all that may be published of a folder.
type Folder struct {
	Dir     string
	Source  record.Origin
	Licence Licence
	Models  []Model // largest first
	Files   []Asset // every file that goes to the Hub or to a folder, by name: models, projectors, receipts, card, checksums
	Left    []string
}

// MixedError says that a folder holds files of several models.
type MixedError struct{ Dir, A, B string }

// Error names two of them.
func (e *MixedError) Error() string {
	return fmt.Sprintf("%s holds files of %s and of %s", e.Dir, e.A, e.B)
}

// Hint says how to get folders of one model.
func (e *MixedError) Hint() string {
	return "a model card is about one model: use `quern batch`, or -o with a folder for each"
}

// NoTypeError says that no file of the folder has a type that was asked for.
type NoTypeError struct {
	Dir, Type string
	Has       []string
}

// Error names the type.
func (e *NoTypeError) Error() string { return fmt.Sprintf("%s has no %s", e.Dir, e.Type) }

// Hint lists what is there.
func (e *NoTypeError) Hint() string { return "it has " + strings.Join(e.Has, ", ") }

// Open reads every byte of the folder's files against their receipts. types chooses among the models; none: all. The error is a
// *record.NoReceiptError, *MixedError, *NoTypeError, or a *fault.Invalid for a file that is not what its receipt says.
func Open(ctx context.Context, dir string, types []string, ev pipeline.Events) (*Folder, error) {
	receipts, err := record.Receipts(dir)
	if err != nil {
		return nil, err
	}
	f := &Folder{Dir: dir}
	chosen, err := f.choose(receipts, types)
	if err != nil {
		return nil, err
	}
	var rs []*record.Receipt
	for _, path := range chosen {
		ev.Emit(pipeline.Started{Stage: "verify", Says: filepath.Base(path)})
		_, r, err := record.Verify(ctx, path, ev)
		if err != nil {
			return nil, err
		}
		rs = append(rs, r)
		if err := f.add(path, r); err != nil {
			return nil, err
		}
	}
	if err := f.describe(rs, len(types) > 0); err != nil {
		return nil, err
	}
	return f, f.leave()
}

// choose finds the receipts of the wanted types, and those of projectors.
func (f *Folder) choose(receipts, types []string) (chosen []string, err error) {
	found := map[string]bool{}
	var has []string
	for _, path := range receipts {
		r, err := record.ReadReceipt(path)
		if err != nil {
			return nil, err
		}
		if f.Source.Model != "" && !sameSource(f.Source, r.Source) {
			return nil, &MixedError{f.Dir, f.Source.Argument(), r.Source.Argument()}
		}
		f.Source = r.Source
		if r.Projector() {
			chosen = append(chosen, path)
			continue
		}
		has = append(has, r.Type)
		i := slices.IndexFunc(types, func(t string) bool { return strings.EqualFold(t, r.Type) })
		if i >= 0 {
			found[types[i]] = true
		}
		if i >= 0 || len(types) == 0 {
			chosen = append(chosen, path)
		}
	}
	for _, t := range types {
		if !found[t] {
			return nil, &NoTypeError{f.Dir, t, has}
		}
	}
	return chosen, nil
}

// sameSource compares what was converted, however it was named.
func sameSource(a, b record.Origin) bool {
	return a.Repo == b.Repo && a.Commit == b.Commit && (a.Repo != "" || filepath.Base(a.Model) == filepath.Base(b.Model))
}

// add takes the files of a verified receipt, the receipt, and what attests it.
func (f *Folder) add(path string, r *record.Receipt) error {
	if len(r.Outputs) == 0 {
		return &record.NoReceiptError{Path: path}
	}
	m := Model{Receipt: r, Parts: f.proven(r.Outputs), Projector: f.proven(r.Beside)}
	if !r.Projector() {
		if err := m.read(); err != nil {
			return err
		}
		f.Models = append(f.Models, m)
	}
	f.Files = append(append(f.Files, m.Parts...), m.Projector...)
	base := strings.TrimSuffix(path, record.Suffix)
	for _, p := range []string{path, base + ".intoto.json", base + ".sigstore.json"} {
		if err := f.read(p); err != nil {
			return err
		}
	}
	return nil
}

// proven are files whose digests have just been checked.
func (f *Folder) proven(ds []record.FileDigest) []Asset {
	var all []Asset
	for _, d := range ds {
		name := filepath.Base(d.Name)
		all = append(all, Asset{Name: name, Path: filepath.Join(f.Dir, name), Size: d.Size, SHA256: strings.TrimPrefix(d.Digest, "sha256:")})
	}
	return all
}

// maxSmall bounds the files that are held in memory: receipts, cards, licences.
const maxSmall = 256 << 20

// read takes a small file where it is there.
func (f *Folder) read(path string) error {
	fi, err := os.Stat(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err == nil && fi.Size() > maxSmall {
		err = fmt.Errorf("%s: %d bytes, at most %d are published", path, fi.Size(), maxSmall)
	}
	if err != nil {
		return err
	}
	data, err := os.ReadFile(path)
	if err == nil {
		f.make(filepath.Base(path), data)
	}
	return err
}

// make adds a file that is in memory.
func (f *Folder) make(name string, data []byte) {
	sum := sha256.Sum256(data)
	f.Files = append(f.Files, Asset{Name: name, Data: data, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])})
}

// notices are names of texts that have to go with a model.
var notices = []string{"LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*"}

// describe adds what is about all files. A card that is there is taken as it is, its owner may have written in it; a part of the
// folder gets one of its own.
func (f *Folder) describe(rs []*record.Receipt, part bool) error {
	made, err := card.Files(rs)
	if err != nil {
		return err
	}
	for name, data := range made {
		path := filepath.Join(f.Dir, name)
		if _, err := os.Stat(path); err == nil && name == card.CardName && !part {
			if err := f.read(path); err != nil {
				return err
			}
		} else if data != nil {
			f.make(name, data)
		}
	}
	for _, n := range notices {
		found, err := filepath.Glob(filepath.Join(f.Dir, n))
		if err != nil {
			return err
		}
		for _, path := range found {
			if err := f.read(path); err != nil {
				return err
			}
		}
	}
	slices.SortFunc(f.Files, func(a, b Asset) int { return strings.Compare(a.Name, b.Name) })
	f.Files = slices.CompactFunc(f.Files, func(a, b Asset) bool { return a.Name == b.Name }) // a projector belongs to many models
	slices.SortFunc(f.Models, func(a, b Model) int { return slices.Index(rs, a.Receipt) - slices.Index(rs, b.Receipt) })
	f.Licence.ID = rs[0].License
	if len(f.Models) > 0 && f.Models[0].Text("general.license") != "" {
		m := f.Models[0]
		f.Licence = Licence{m.Text("general.license"), m.Text("general.license.name"), m.Text("general.license.link")}
	}
	return nil
}

// leave lists what stays, so that it can be said.
func (f *Folder) leave() error {
	entries, err := os.ReadDir(f.Dir)
	for _, e := range entries {
		taken := slices.ContainsFunc(f.Files, func(a Asset) bool { return a.Name == e.Name() })
		if !taken && !strings.HasPrefix(e.Name(), ".") {
			f.Left = append(f.Left, e.Name())
		}
	}
	return err
}
