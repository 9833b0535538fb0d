package set

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"quern/pipeline"
	"quern/pipeline/batch/lock"
	"quern/pipeline/batch/manifest"
	"quern/pipeline/queue"
	"quern/quantize/llamacpp"
	"quern/stages/record"
	"quern/stages/source"
)

// Order is an entry as a worker gets it: the body of a task.
type Order struct {
	Set  manifest.Set        `json:"set"` // with the one model
	Key  string              `json:"key"` // of the entry
	Part Part                `json:"part,omitempty"`
	Pins map[string]lock.Pin `json:"pins"`
	// Made are the files of a Trial, by FileKey, and where they are kept.
	Made  map[string]string `json:"made,omitempty"`
	Files []Carried         `json:"files,omitempty"`
	Quern string            `json:"quern"`
	Llama string            `json:"llama_cpp"`
}

// Carried is a file that goes through the store.
type Carried struct {
	Path   string `json:"path"` // relative to the model's folder
	Digest string `json:"digest"`
	Object string `json:"object"` // its name in the store
}

// Answer is what a worker gives back: the body of a result.
type Answer struct {
	Entry Entry     `json:"entry"`
	Found Trials    `json:"found"`
	Files []Carried `json:"files"`
}

// newOrder takes all that does not decide the result out of the manifest: places in the text, budgets, other models.
func newOrder(s *manifest.Set, e manifest.Entry, part Part, l *lock.Lock, version string) (*Order, error) {
	m := *e.Model
	m.At = manifest.Position{}
	m.Types = slices.Clone(m.Types)
	for i := range m.Types {
		m.Types[i].At = manifest.Position{}
	}
	m.Options = map[string]manifest.Option{}
	for k, o := range e.Model.Options {
		o.At = manifest.Position{}
		m.Options[k] = o
	}
	file, err := filepath.Abs(s.File) // paths of the manifest are meant on every machine
	if err != nil {
		return nil, err
	}
	o := &Order{Set: manifest.Set{File: file, Models: []manifest.Model{m}}, Key: e.Key, Part: part, Pins: map[string]lock.Pin{}, Quern: version, Llama: llamacpp.Version}
	if p, ok := l.Pin(m.Model); ok {
		o.Pins[m.Model] = p
	}
	return o, nil
}

// ID is the digest of the order.
func (o *Order) ID() string {
	plain := *o
	plain.Files = nil // where files lie is no part of what is asked for: Made has their digests
	b, err := json.Marshal(plain)
	if err != nil {
		b = []byte(err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Do carries an order out in a folder of its own and puts what was made into the store.
func (o *Order) Do(ctx context.Context, t Tools, opts Options, store queue.Store, ev pipeline.Events) (*Answer, error) {
	entries := slices.DeleteFunc(o.Set.Entries(), func(e manifest.Entry) bool { return e.Key != o.Key })
	if len(entries) == 0 {
		return nil, errors.New("the order names an entry that its model does not have")
	}
	id, key := o.ID(), entries[0].Model.Key
	opts.Dir = filepath.Join(opts.Dir, id[:16])
	opts.Part, opts.Made = o.Part, o.Made
	t.Lock = lock.Of(o.Pins)
	for _, f := range o.Files {
		if err := f.fetch(ctx, store, filepath.Join(opts.Dir, key)); err != nil {
			return nil, err
		}
	}
	rep, err := Run(ctx, &o.Set, entries, t, opts, ev)
	var failed *Failed
	if err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	a := &Answer{Entry: rep.Entries[0], Found: rep.Found}
	var paths []string
	for _, f := range a.Entry.Files {
		if o.Part != Trial && (f.Receipt || o.Part == Make && (f.State == pipeline.OK || f.State == pipeline.Proven)) {
			paths = append(paths, f.Paths...)
		}
		if f.Receipt {
			paths = append(paths, f.Path+record.Suffix)
		}
	}
	for _, p := range append(paths, rep.Extra[o.Key]...) {
		c, err := carry(ctx, store, id, filepath.Join(opts.Dir, key), p)
		if err != nil {
			return nil, err
		}
		a.Files = append(a.Files, c)
	}
	return a, nil
}

// carry puts a file into the store under its task and path.
func carry(ctx context.Context, store queue.Store, id, dir, path string) (Carried, error) {
	d, _, err := source.SumFile(ctx, path)
	if err != nil {
		return Carried{}, err
	}
	rel, err := filepath.Rel(dir, path)
	if err != nil {
		return Carried{}, err
	}
	rel = filepath.ToSlash(rel)
	c := Carried{Path: rel, Digest: d, Object: id + "/" + rel}
	return c, store.Put(ctx, c.Object, path)
}

// fetch brings a file into a model's folder, unless it is there. Only names that stay inside are accepted.
func (c Carried) fetch(ctx context.Context, store queue.Store, dir string) error {
	if !filepath.IsLocal(filepath.FromSlash(c.Path)) {
		return errors.New("a file of the name " + c.Path + " would leave its folder")
	}
	path := filepath.Join(dir, filepath.FromSlash(c.Path))
	if d, _, err := source.SumFile(ctx, path); err == nil && d == c.Digest {
		return nil
	}
	if err := store.Fetch(ctx, c.Object, path); err != nil {
		return err
	}
	d, _, err := source.SumFile(ctx, path)
	if err == nil && d != c.Digest {
		err = errors.Join(&DamagedError{path, d, c.Digest}, os.Remove(path))
	}
	return err
}

// DamagedError says that a file from a worker is not what the worker said. The command ends with exit code 12.
type DamagedError struct{ Path, Got, Want string }

// Error gives both digests.
func (e *DamagedError) Error() string {
	return e.Path + " has digest " + e.Got + ", its worker said " + e.Want
}

// Hint says what to do.
func (e *DamagedError) Hint() string {
	return "run the same command again; if it stays so, look at the store"
}
