// Package corpus holds the reference's answers about tokenizers, for the tests of the packages that need them.
//
// One archive keeps the small tokenizers (tokenizers/<name>/), what they make of a fixed list of texts
// (tokenizer/<name>.json, tokenizer/texts.json) and the table of pre-tokenizer hashes (pretokenizers.json). It is part of
// no command: only tests import this package.
package corpus

import (
	"archive/tar"
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
	"testing/fstest"

	"github.com/klauspost/compress/zstd"
)

//go:embed corpus.tar.zst
var packed []byte

// FS gives the unpacked archive. Its files implement io.ReaderAt.
func FS() (fs.FS, error) { return unpack() }

var unpack = sync.OnceValues(func() (fs.FS, error) {
	z, err := zstd.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil, fmt.Errorf("corpus: %w", err)
	}
	defer z.Close()
	files := fstest.MapFS{}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("corpus: %w", err)
		}
		data, err := io.ReadAll(t)
		if err != nil {
			return nil, fmt.Errorf("corpus: %s: %w", h.Name, err)
		}
		files[h.Name] = &fstest.MapFile{Data: data, Mode: 0o444}
	}
})

// Answer is what the reference says of one tokenizer. Indices are those of Texts.
type Answer struct {
	Prefix []int32            `json:"prefix"` // that tokenizer.json sets around a text
	Suffix []int32            `json:"suffix"`
	Full   map[string][]int32 `json:"full"` // where a text with special tokens is not prefix, ids, suffix
	IDs    [][]int32          `json:"ids"`  // without special tokens
	Auto   struct {           // AutoTokenizer over the folder
		Class   string             `json:"class"`
		Prefix  []int32            `json:"prefix"`
		Suffix  []int32            `json:"suffix"`
		Differs map[string][]int32 `json:"differs"` // from IDs
		Hash    *string            `json:"chkhsh"`
		Pre     *string            `json:"pre"`
		Error   any                `json:"error"`
	} `json:"auto"`
	SentencePiece *struct {
		File string    `json:"file"`
		IDs  [][]int32 `json:"ids"`
	} `json:"sentencepiece"`
	Llama struct {
		Prefix  []int32            `json:"prefix"`
		Suffix  []int32            `json:"suffix"`
		Differs map[string][]int32 `json:"differs"`
		Note    string             `json:"note"`
	} `json:"llama"`
	GGUF json.RawMessage `json:"gguf"` // the entries that the reference writes, or its error
}

// Texts are the texts that every answer is about, with the group that each belongs to.
func Texts() (groups, texts []string, err error) {
	var rows [][2]string
	if err := read("tokenizer/texts.json", &rows); err != nil {
		return nil, nil, err
	}
	for _, r := range rows {
		groups, texts = append(groups, r[0]), append(texts, r[1])
	}
	return groups, texts, nil
}

// Answers reads tokenizer/<name>.json.
func Answers(name string) (*Answer, error) {
	a := &Answer{}
	return a, read("tokenizer/"+name+".json", a)
}

// Folder is a small tokenizer whose files the archive holds, with the reference's answer.
type Folder struct {
	Name   string
	FS     fs.FS
	Answer *Answer
}

// Folders are the small tokenizers that have an answer, by name.
func Folders() ([]Folder, error) {
	src, err := FS()
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(src, "tokenizer/*.json")
	if err != nil {
		return nil, err
	}
	var out []Folder
	for _, file := range files {
		f := Folder{Name: strings.TrimSuffix(path.Base(file), ".json")}
		if _, err := fs.Stat(src, "tokenizers/"+f.Name); err != nil {
			continue // a published tokenizer, or a list
		}
		if f.FS, err = fs.Sub(src, "tokenizers/"+f.Name); err != nil {
			return nil, err
		}
		if f.Answer, err = Answers(f.Name); err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// read decodes a JSON file of the archive.
func read(name string, to any) error {
	src, err := FS()
	if err != nil {
		return err
	}
	data, err := fs.ReadFile(src, name)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, to); err != nil {
		return fmt.Errorf("corpus: %s: %w", name, err)
	}
	return nil
}
