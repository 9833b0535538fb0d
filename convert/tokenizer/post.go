package tokenizer

import (
	"encoding/json"
	"fmt"

	"quern/convert/fault"
)

// frame is what a post-processor sets around a text: all of them reduce to it for a single sequence. A nil body member
// stands for the text.
type frame []framePart

type framePart struct {
	text  bool
	ids   []int32
	lacks string // what the file does not have: encoding fails where it is asked for
	pair  bool   // it is asked for even without special tokens
}

// parsePost reads the "post_processor". Members decide its kind, not "type", where the library does so: files exist whose
// type comes last and whose other members are of another kind.
func parsePost(raw json.RawMessage, depth int) ([]frame, error) {
	var p struct {
		Sep        *taggedID                  `json:"sep"`
		Cls        *taggedID                  `json:"cls"`
		Single     []json.RawMessage          `json:"single"`
		Special    map[string]json.RawMessage `json:"special_tokens"`
		Processors []json.RawMessage          `json:"processors"`
	}
	kind, err := readComponent("post_processor", raw, depth, &p)
	if err != nil || kind == "" {
		return nil, err
	}
	switch kind {
	case "RobertaProcessing", "BertProcessing":
		return []frame{{{ids: []int32{p.Cls.id}}, {text: true}, {ids: []int32{p.Sep.id}}}}, nil
	case "TemplateProcessing":
		f, err := parseTemplate(p.Single, p.Special)
		return []frame{f}, err
	case "Sequence":
		var all []frame
		for _, r := range p.Processors {
			if string(r) == "null" {
				return nil, missing("post_processor Sequence", "type")
			}
			f, err := parsePost(r, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, f...)
		}
		return all, nil
	}
	return nil, nil // a ByteLevel moves offsets only
}

// taggedID is ["text", id].
type taggedID struct{ id int32 }

// UnmarshalJSON reads the pair.
func (t *taggedID) UnmarshalJSON(b []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(b, &pair); err != nil {
		return err
	}
	if len(pair) != 2 {
		return fmt.Errorf("%d members, a text and an id are needed", len(pair))
	}
	var text string
	if err := json.Unmarshal(pair[0], &text); err != nil {
		return err
	}
	id, err := readID(pair[1])
	t.id = id
	return err
}

// readID reads an id within bounds.
func readID(raw json.RawMessage) (int32, error) {
	var id uint32
	if err := json.Unmarshal(raw, &id); err != nil {
		return 0, err
	}
	if id > maxID {
		return 0, tooHigh("post_processor", id)
	}
	return int32(id), nil
}

// parseTemplate reads the template for one text. That a token is not defined shows only when it is asked for.
func parseTemplate(pieces []json.RawMessage, special map[string]json.RawMessage) (frame, error) {
	const on = "post_processor TemplateProcessing"
	var f frame
	for i, raw := range pieces {
		var p struct {
			Sequence *struct {
				ID string `json:"id"`
			}
			SpecialToken *struct {
				ID string `json:"id"`
			}
		}
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, &fault.Invalid{On: on, Says: fmt.Sprintf("single[%d] cannot be read", i), Err: err}
		}
		switch {
		case p.Sequence != nil && p.Sequence.ID == "A":
			f = append(f, framePart{text: true})
		case p.SpecialToken != nil:
			var t struct {
				IDs []json.RawMessage `json:"ids"`
			}
			raw, ok := special[p.SpecialToken.ID]
			if !ok {
				f = append(f, framePart{lacks: fmt.Sprintf("special token %q, which is not among special_tokens", p.SpecialToken.ID)})
				continue
			}
			if err := json.Unmarshal(raw, &t); err != nil {
				return nil, &fault.Invalid{On: on, Says: fmt.Sprintf("special token %q cannot be read", p.SpecialToken.ID), Err: err}
			}
			var part framePart
			for _, r := range t.IDs {
				id, err := readID(r)
				if err != nil {
					return nil, &fault.Invalid{On: on, Says: fmt.Sprintf("special token %q has a bad id", p.SpecialToken.ID), Err: err}
				}
				part.ids = append(part.ids, id)
			}
			f = append(f, part)
		default:
			f = append(f, framePart{lacks: "second text", pair: true})
		}
	}
	return f, nil
}

// around sets the frame around ids. Without special tokens the text alone is left, once for every place that names it.
func (f frame) around(ids []int32, special bool) ([]int32, error) {
	var out []int32
	for _, p := range f {
		switch {
		case p.lacks != "" && (special || p.pair):
			return nil, &fault.Invalid{On: "post_processor TemplateProcessing", Says: "asks for a " + p.lacks}
		case p.text:
			out = append(out, ids...)
		case special:
			out = append(out, p.ids...)
		}
	}
	return out, nil
}

// added is how many ids the frame adds.
func (f frame) added() int {
	n := 0
	for _, p := range f {
		n += len(p.ids)
	}
	return n
}
