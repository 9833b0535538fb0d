package vocab

import (
	"encoding/json"
	"slices"

	"quern/convert/fault"
)

func (b *builder) load() error {
	if b.hf != nil {
		return nil
	}
	raw, err := read(b.src, "tokenizer.json")
	if err != nil {
		return err
	}
	var file struct {
		Model struct {
			Vocab json.RawMessage `json:"vocab"`
		} `json:"model"`
		Added []addedState `json:"added_tokens"`
	}
	if raw == nil {
		return &fault.Unsupported{On: "tokenizer.json", Says: "not in the checkpoint"}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return &fault.Invalid{On: "tokenizer.json", Says: "bad", Err: err}
	}
	e := &engine{ids: map[string]int32{}, texts: map[int32]string{}}
	if json.Unmarshal(file.Model.Vocab, &e.ids) != nil {
		var l [][2]json.RawMessage
		json.Unmarshal(file.Model.Vocab, &l)
		for i, p := range l {
			var t string
			json.Unmarshal(p[0], &t)
			e.ids[t] = int32(i)
		}
	}
	e.base = len(e.ids)
	for _, a := range file.Added {
		e.ids[a.Content] = a.ID
		if a.Special {
			e.special = append(e.special, a.ID)
		}
	}
	for t, id := range e.ids {
		e.texts[id] = t
	}
	slices.SortFunc(file.Added, func(a, b addedState) int { return int(a.ID - b.ID) })
	e.added = file.Added
	b.hf = e
	return nil
}
