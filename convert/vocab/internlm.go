package vocab

import (
	"encoding/json"
	"io/fs"
	"strconv"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
)

// The end of a turn in InternLM's chat models, which takes the place of the end of text.
const chatEnd = "<|im_end|>"

// configToken is an entry of tokenizer_config.json's added_tokens_decoder.
type configToken struct {
	id int64
	addedToken
}

// configAdded lists added_tokens_decoder in file order; entries without an id or a text are left out.
func configAdded(src fs.FS) ([]configToken, error) {
	raw, err := read(src, "tokenizer_config.json")
	if raw == nil || err != nil {
		return nil, err
	}
	var file struct {
		Added json.RawMessage `json:"added_tokens_decoder"`
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, &fault.Invalid{On: "tokenizer_config.json", Says: "not the JSON of a tokenizer's configuration", Err: err}
	}
	var out []configToken
	for _, p := range pairs(file.Added) {
		var t addedToken
		id, err := strconv.ParseInt(strings.TrimSpace(p.key), 10, 64)
		if err == nil && json.Unmarshal(p.value, &t) == nil {
			out = append(out, configToken{id, t})
		}
	}
	return out, nil
}

// internLM2 appends the added tokens, keeps a NUL piece readable and ends the chat's turns.
func (b *builder) internLM2() error {
	m, name, err := openPieces(b.src, "tokenizer.model")
	if err != nil {
		return err
	}
	if m == nil {
		return b.need(false, nil)
	}
	for i, p := range m.tokens {
		if p.text == "\x00" {
			m.tokens[i].text = "\U0001f409" // the reference writes a dragon, so that C++ does not see an empty text
		}
		if strings.HasPrefix(p.text, "[UNUSED") {
			m.tokens[i].typ = Unused
		}
	}
	list, err := b.layPieces(m, name, spmRules{sizes: []string{"vocab_size"}, exact: true, added: addedAppended, config: configPlain, file: true})
	if err != nil {
		return err
	}
	end, err := b.chatEndID()
	if err != nil {
		return err
	}
	b.write("llama", "default", list, true)
	b.kv.set(keySpacePrefix, m.AddDummyPrefix)
	s, err := b.specials(specialOptions{tokens: len(list)})
	if err != nil {
		return err
	}
	if end >= 0 {
		s.ids.set("eos", end)
	}
	s.write(&b.kv)
	return nil
}

// chatEndID is the id of <|im_end|> among the added tokens, tokenizer.json's last; -1 when there is none.
func (b *builder) chatEndID() (int64, error) {
	id := int64(-1)
	added, err := configAdded(b.src)
	if err != nil {
		return id, err
	}
	for _, a := range added {
		if a.Content == chatEnd {
			id = a.id
		}
	}
	raw, err := read(b.src, "tokenizer.json")
	if raw == nil || err != nil {
		return id, err
	}
	var file tokenizerFile
	if err := json.Unmarshal(raw, &file); err != nil {
		return id, &fault.Invalid{On: "tokenizer.json", Says: "not the JSON of a tokenizer", Err: err}
	}
	for _, a := range file.AddedTokens {
		if a.Content == chatEnd && a.ID != nil {
			id = *a.ID
		}
	}
	return id, nil
}

// internLM3 replaces the end of text only where the configuration names one, and reads the flag for a leading blank before
// the special tokens are written.
func (b *builder) internLM3() error {
	list, _, err := b.spmTokens(spmCommon)
	if err != nil {
		return err
	}
	if list == nil {
		return b.need(false, nil)
	}
	b.write("llama", "default", list, true)
	s, err := b.specials(specialOptions{tokens: len(list)})
	if err != nil {
		return err
	}
	tc, err := readObject(b.src, "tokenizer_config.json")
	if err != nil {
		return err
	}
	if v, ok := tc["add_prefix_space"]; ok {
		b.kv.set(keySpacePrefix, config.Truth(v))
	}
	added, err := configAdded(b.src)
	if err != nil {
		return err
	}
	for _, a := range added {
		if a.Special && a.Content == chatEnd && s.ids.has("eos") {
			s.ids.set("eos", a.id)
		}
	}
	s.write(&b.kv)
	return nil
}
