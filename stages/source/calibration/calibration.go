// Package calibration is the text from which importance matrices are computed where the user names none: pages written for
// it (prose, dialogue, rules, mathematics, code and data, fifteen other languages), then paragraphs from books in the public
// domain that the built-in model was not trained on. The latter's first half is what quality is judged on and has no part in it.
package calibration

import (
	"bytes"
	_ "embed"

	"quern/stages/source"
	"quern/stages/source/pocket"
)

// Name is what imatrix files and metadata call the text. It changes with the text.
const Name = "quern-calibration-1.txt"

//go:embed own.txt
var own []byte

// Text is the whole text in UTF-8.
func Text() ([]byte, error) {
	src, err := pocket.FS()
	if err != nil {
		return nil, err
	}
	books, err := source.ReadFile(src, pocket.HeldOut)
	if err != nil {
		return nil, err
	}
	books = books[max(len(books)/2, len(books)-maxBooks):]
	books = books[bytes.IndexByte(books, '\n')+1:]
	return append(bytes.Clone(own), books...), nil
}

// maxBooks keeps the old books from outweighing the rest, and a large model's reading within minutes.
const maxBooks = 80_000

// bytesPerToken is usual for vocabularies of a hundred thousand pieces on such text.
const bytesPerToken = 4

// Tokens is about how many tokens the text has.
func Tokens() int {
	text, err := Text()
	if err != nil {
		return 0
	}
	return len(text) / bytesPerToken
}
