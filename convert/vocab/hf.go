package vocab

import (
	"encoding/json"
	"io/fs"
	"slices"

	"quern/convert/fault"
)

// addedState is an added token as the tokenizer runs it.
type addedState struct {
	ID         int32
	Content    string
	Special    bool
	Normalized bool
}

// runner is what is needed of a tokenizer beside its tables: Hugging Face's encode and decode.
type runner interface {
	Encode(text string, special bool) []int32
	Decode(ids []int32) string
}

// engine is the checkpoint's tokenizer as AutoTokenizer runs it.
type engine struct {
	runner
	ids     map[string]int32 // the vocabulary, added tokens included
	texts   map[int32]string
	added   []addedState // by id
	base    int
	special []int32
}

func (e *engine) topID() int {
	top := int32(-1)
	for id := range e.texts {
		top = max(top, id)
	}
	return int(top)
}

func (e *engine) addedID(text string) (int32, bool) {
	i := slices.IndexFunc(e.added, func(a addedState) bool { return a.Content == text })
	if i < 0 {
		return 0, false
	}
	return e.added[i].ID, true
}

func (e *engine) roundTrip(text string) string {
	if e.runner == nil {
		return text
	}
	return e.Decode(e.Encode(text, false))
}

func (e *engine) specialIDs() []int32 { return e.special }
func (e *engine) baseSize() int       { return e.base }
func (e *engine) addsBOS() bool       { return true }
func (e *engine) prefixSpace() bool   { return false }
func (e *engine) cleansUp() bool      { return true }

// preTokenizerType is the type that tokenizer.json gives its pre-tokenizer; empty without one.
func preTokenizerType(src fs.FS) (string, error) {
	raw, err := read(src, "tokenizer.json")
	if raw == nil || err != nil {
		return "", err
	}
	var file struct {
		Split struct {
			Type string `json:"type"`
		} `json:"pre_tokenizer"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return "", &fault.Invalid{On: "tokenizer.json", Says: "not the JSON of a tokenizer", Err: err}
	}
	return file.Split.Type, nil
}
