package conformance

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// Tolerance is what a case lets differ, because the reference takes it from a hash set, a directory listing, or a text of its own.
type Tolerance struct {
	Unordered []string // arrays to compare as sets, and the order of the keys that continue their name
	Without   []string // keys whose value, or absence, does not count
}

func (t Tolerance) none() bool { return len(t.Unordered)+len(t.Without) == 0 }

// Difference says where a file first differs from the answer.
type Difference struct {
	File string // the part; empty where there is one
	At   string // "metadata 3, general.name", "tensor 12, output.weight", "size" ...
	Want string
	Got  string
}

// Error is one line with both sides.
func (d *Difference) Error() string {
	at := d.At
	if d.File != "" {
		at = d.File + ": " + at
	}
	return fmt.Sprintf("%s: want %s, got %s", at, d.Want, d.Got)
}

// Check compares one written file with the answer.
func (a *Answer) Check(r io.ReaderAt, size int64, t Tolerance) error {
	if err := a.wrote(1); err != nil {
		return err
	}
	got, err := Written("", r, size)
	if err != nil {
		return err
	}
	return Compare(a.Parts[0], got, t)
}

// CheckParts compares the files of a folder with the answer: each part under its own name. Other files do not count.
func (a *Answer) CheckParts(folder fs.FS, t Tolerance) error {
	if err := a.wrote(len(a.Parts)); err != nil {
		return err
	}
	// the reference's names of the parts count too
	for _, want := range a.Parts {
		if err := checkPart(folder, want, t); err != nil {
			return err
		}
	}
	return nil
}

func checkPart(folder fs.FS, want *File, t Tolerance) error {
	f, err := folder.Open(want.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	r, ok := f.(io.ReaderAt)
	if !ok {
		return fmt.Errorf("%s: cannot be read at an offset", want.Name)
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	got, err := Written(want.Name, r, info.Size())
	if err != nil {
		return err
	}
	return Compare(want, got, t)
}

// CheckFailure wants err to be a refusal if the reference refused, and nil if it did not.
func (a *Answer) CheckFailure(err error) error {
	switch {
	case a.Fails != "" && err == nil:
		return fmt.Errorf("the reference refuses: %s", a.Fails)
	case a.Fails == "" && err != nil:
		return fmt.Errorf("the reference does not refuse: %w", err)
	}
	return nil
}

func (a *Answer) wrote(files int) error {
	switch {
	case a.Fails != "":
		return fmt.Errorf("the reference wrote nothing: %s", a.Fails)
	case len(a.Parts) == 0:
		return fmt.Errorf("the reference only printed %v", a.Printed)
	case len(a.Parts) != files:
		return fmt.Errorf("the reference wrote %d files, not %d", len(a.Parts), files)
	}
	return nil
}

// Compare gives the first *Difference between two files, or nil. Without digests in either (a plan), tensors are compared by
// name, type, shape and offset.
func Compare(want, got *File, t Tolerance) error {
	if want.SHA256 != "" && want.SHA256 == got.SHA256 {
		return nil
	}
	// in the order in which a reader wants to know it: a wrong key moves every offset and the size
	c := comparison{file: want.Name}
	c.metadata(t.apply(want.Metadata), t.apply(got.Metadata))
	c.tensors(want.Tensors, got.Tensors)
	c.value("version", want.Version, got.Version)
	if len(t.Without) == 0 {
		if len(want.Tensors) > 0 { // a file of metadata alone may end before its padding
			c.value("data offset", want.DataOffset, got.DataOffset)
		}
		c.value("size", want.Size, got.Size)
	}
	if t.none() && want.SHA256 != "" && got.SHA256 != "" {
		c.value("sha256", want.SHA256, got.SHA256)
	}
	if c.first == nil {
		return nil
	}
	return c.first
}

type comparison struct {
	file  string
	first *Difference
}

func (c *comparison) value(at string, want, got any) {
	if c.first == nil && want != got {
		c.first = &Difference{File: c.file, At: at, Want: fmt.Sprint(want), Got: fmt.Sprint(got)}
	}
}

func (c *comparison) metadata(want, got []Entry) {
	for i := 0; i < max(len(want), len(got)) && c.first == nil; i++ {
		w, g := "nothing more", "nothing more"
		at := fmt.Sprintf("metadata %d", i)
		if i < len(got) {
			g = got[i].Key + " " + got[i].Type + " " + clip(got[i].Value)
		}
		if i < len(want) {
			w = want[i].Key + " " + want[i].Type + " " + clip(want[i].Value)
			at += ", " + want[i].Key
			if i < len(got) && got[i].Key != want[i].Key {
				w, g = w+where(got, want[i].Key), g+where(want, got[i].Key)
			}
		}
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			c.first = &Difference{File: c.file, At: at, Want: w, Got: g}
		}
	}
}

// where tells a misplaced key from a missing one.
func where(in []Entry, key string) string {
	i := slices.IndexFunc(in, func(e Entry) bool { return e.Key == key })
	if i < 0 {
		return " (the other has no such key)"
	}
	return fmt.Sprintf(" (the other has it as number %d)", i)
}

func (c *comparison) tensors(want, got []Stored) {
	for i := 0; i < max(len(want), len(got)) && c.first == nil; i++ {
		if i >= len(want) {
			c.value(fmt.Sprintf("tensor %d", i), "nothing more", got[i].Name)
			return
		}
		w, at := want[i], fmt.Sprintf("tensor %d, %s", i, want[i].Name)
		if i >= len(got) {
			c.value(at, w.Name, "nothing more")
			return
		}
		g := got[i]
		c.value(at, w.Name, g.Name)
		c.value(at+": type", w.Type, g.Type)
		c.value(at+": shape", fmt.Sprint(w.Shape), fmt.Sprint(g.Shape))
		c.value(at+": offset", w.Offset, g.Offset)
		if w.SHA256 != "" && g.SHA256 != "" { // a plan has none
			c.value(at+": sha256", w.SHA256, g.SHA256)
		}
	}
}

func clip(s string) string {
	if len(s) <= 120 {
		return s
	}
	return strings.ToValidUTF8(s[:120], "") + "..."
}

// apply gives the metadata with what may differ taken out or brought into one order.
func (t Tolerance) apply(in []Entry) []Entry {
	if t.none() {
		return in
	}
	var out []Entry
	for _, e := range in {
		if slices.Contains(t.Without, e.Key) {
			continue
		}
		if slices.Contains(t.Unordered, e.Key) || t.lists(e.Key) {
			e.Value = t.set(e)
		}
		if e.Value != "[]" || !t.lists(e.Key) {
			out = append(out, e)
		}
	}
	for _, key := range t.Unordered {
		sortFamily(out, strings.TrimSuffix(key, "s")+".")
	}
	return out
}

// lists tells whether the key is the list of names whose members t leaves out, as chat_templates is of chat_template.<name>.
func (t Tolerance) lists(key string) bool {
	stem, plural := strings.CutSuffix(key, "s")
	return plural && slices.ContainsFunc(t.Without, func(w string) bool { return strings.HasPrefix(w, stem+".") })
}

// set is the canonical list sorted, less the names that are left out.
func (t Tolerance) set(e Entry) string {
	members := strings.Split(strings.Trim(e.Value, "[]"), ",")
	stem := strings.TrimSuffix(e.Key, "s") + "."
	members = slices.DeleteFunc(members, func(m string) bool { return slices.Contains(t.Without, stem+strings.Trim(m, `"`)) })
	slices.Sort(members)
	return "[" + strings.Join(members, ",") + "]"
}

// sortFamily sorts the entries whose key starts with stem among the places that they hold.
func sortFamily(entries []Entry, stem string) {
	var places []int
	var family []Entry
	for i, e := range entries {
		if strings.HasPrefix(e.Key, stem) {
			places, family = append(places, i), append(family, e)
		}
	}
	slices.SortFunc(family, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	for i, p := range places {
		entries[p] = family[i]
	}
}
