package vocab

import (
	"encoding/json"
	"fmt"
	"strings"

	"quern/convert/fault"
)

// plamo writes tokenizer.jsonl: one list a line, of text, score and type.
func (b *builder) plamo() error {
	text, found, err := readText(b.src, "tokenizer.jsonl")
	if err != nil {
		return err
	}
	if !found {
		return &fault.Unsupported{On: "tokenizer.jsonl", Says: "not in the checkpoint, and PLaMo's vocabulary is read from it"}
	}
	list, err := plamoTokens(text)
	if err != nil {
		return err
	}
	size, _, err := b.size("vocab_size")
	if err != nil {
		return err
	}
	for i, n := 1, size-len(list); i <= n; i++ { // counted from 1 here, not named by their ids
		list = append(list, token{fmt.Sprintf("[PAD%d]", i), scoreAdded, Unused})
	}
	b.write("plamo2", "default", list, true)
	tc, err := readObject(b.src, "tokenizer_config.json")
	if err != nil {
		return err
	}
	for _, typ := range []string{"bos", "eos", "pad", "sep", "unk"} {
		want, ok := tc[typ+"_token"].(string)
		if !ok {
			continue
		}
		id := indexText(list, want)
		if id < 0 {
			return &fault.Invalid{On: "tokenizer_config.json: " + typ + "_token", Says: fmt.Sprintf("%q is not in tokenizer.jsonl", want)}
		}
		b.kv.set(specialKeys[typ], uint32(id))
	}
	return b.then(nil, keyEOT, uint32(4), keySpacePrefix, false) // 4 is <|plamo:op|>, which ends a turn
}

// indexText is the place of the first token of that text; -1 when there is none.
func indexText(list []token, text string) int {
	for i := range list {
		if list[i].text == text {
			return i
		}
	}
	return -1
}

// plamoTokens reads the lines. Types are words; tokens in PLaMo's own brackets are control tokens whatever their type says.
func plamoTokens(text string) ([]token, error) {
	var list []token
	for i, line := range strings.Split(text, "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		bad := func(err error) error {
			return &fault.Invalid{On: fmt.Sprintf("tokenizer.jsonl: line %d", i+1), Says: "not [text, score, type, ...]", Err: err}
		}
		var fields []json.RawMessage
		if err := json.Unmarshal([]byte(line), &fields); err != nil || len(fields) < 2 {
			return nil, bad(err)
		}
		t := token{typ: Normal}
		var score float64
		if err := json.Unmarshal(fields[0], &t.text); err != nil {
			return nil, bad(err)
		}
		if err := json.Unmarshal(fields[1], &score); err != nil {
			return nil, bad(err)
		}
		t.score = float32(score)
		kind := ""
		if len(fields) > 2 {
			if err := json.Unmarshal(fields[2], &kind); err != nil {
				return nil, bad(err)
			}
		}
		switch {
		case kind == "UNKNOWN":
			t.typ = Unknown
		case kind == "CONTROL":
			t.typ = Control
		case kind == "BYTE":
			t.typ = Byte
		case strings.HasPrefix(t.text, "<|plamo:") && strings.HasSuffix(t.text, "|>"):
			t.typ = Control
		}
		list = append(list, t)
	}
	return list, nil
}

// plamo3 adds the chat template, from the file before tokenizer_config.json.
func (b *builder) plamo3() error {
	if err := b.plamo(); err != nil {
		return err
	}
	text, found, err := readText(b.src, "chat_template.jinja")
	if err != nil {
		return err
	}
	if found {
		b.kv.set(keyTemplate, text)
		return nil
	}
	tc, err := readObject(b.src, "tokenizer_config.json")
	parseTemplate(tc["chat_template"], "tokenizer_config.json", b.warn).write(&b.kv)
	return err
}
