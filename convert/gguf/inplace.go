package gguf

import "strings"

// KeyPad is blanks that fill a header up, so that the data behind it stays where it is when metadata becomes shorter.
// Later edits use its room first.
const KeyPad = "quern.pad"

// padEntry is what a KeyPad of no blanks takes in a header: two lengths, the key, the type.
const padEntry = 8 + int64(len(KeyPad)) + 4 + 8

// InPlace plans other metadata in front of the same data: every tensor keeps its offset, and DataOffset stays. A KeyPad of
// the metadata is taken out, and put in where the header is too short to end where the data begins. ok is false when the
// header does not fit; errors are those of Layout. Whatever the file's version, the new header is of version 3.
func (f *File) InPlace(metadata []KV) (p Plan, ok bool, err error) {
	p = f.Plan
	p.Metadata = nil
	for _, kv := range metadata {
		if kv.Key != KeyPad {
			p.Metadata = append(p.Metadata, kv)
		}
	}
	if err := checkAlignment(p.Metadata, f.Alignment); err != nil {
		return Plan{}, false, err
	}
	n, err := p.headerSize()
	if err != nil {
		return Plan{}, false, err
	}
	gap := f.DataOffset - n
	switch {
	case gap < 0:
		return Plan{}, false, nil
	case gap < f.Alignment: // readers find the data at the next multiple
		return p, true, nil
	case gap < padEntry:
		return Plan{}, false, nil
	}
	p.Metadata = append(p.Metadata, KV{KeyPad, strings.Repeat(" ", int(gap-padEntry))})
	return p, true, nil
}
