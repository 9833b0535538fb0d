package tokenizer

import (
	"slices"
	"strings"
	"testing"
)

// TestSchema holds which components the library takes, and for what: answers of tokenizers 0.22.2 for "a b" over the
// vocabulary a = 0, [UNK] = 1. nil: it refuses the file; "fails": it fails when it encodes.
func TestSchema(t *testing.T) {
	template := func(single, special string) string {
		return `"post_processor": {"type": "TemplateProcessing", "single": ` + single + `, "pair": [], "special_tokens": ` + special + `}`
	}
	for part, want := range map[string]any{
		`"normalizer": {"strip_left": true, "strip_right": true}`:                                                               []int32{1},
		`"normalizer": {"type": "Upper", "prepend": "x"}`:                                                                       []int32{1},
		`"normalizer": {"type": "Sequence"}`:                                                                                    nil,
		`"normalizer": {"type": "Upper"}`:                                                                                       nil,
		`"normalizer": {"type": "Bert", "clean_text": true, "handle_chinese_chars": true, "lowercase": true}`:                   []int32{1},
		`"normalizer": {"type": "NFC", "pattern": 3}`:                                                                           []int32{1},
		`"pre_tokenizer": {"type": "Delimiter", "delimiter": " "}`:                                                              nil,
		`"pre_tokenizer": {"type": "CharDelimiterSplit", "delimiter": " "}`:                                                     []int32{0, 1},
		`"pre_tokenizer": {"type": "CharDelimiterSplit", "delimiter": "  "}`:                                                    nil,
		`"pre_tokenizer": {"pretokenizers": []}`:                                                                                nil,
		`"pre_tokenizer": {"type": "Metaspace", "replacement": "_", "prepend_scheme": null}`:                                    nil,
		`"pre_tokenizer": {"type": "Metaspace", "replacement": "_", "str_rep": 3}`:                                              nil,
		`"pre_tokenizer": {"type": "Metaspace", "replacement": "_", "split": null}`:                                             []int32{1, 1},
		`"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": null}`:             nil,
		`"pre_tokenizer": {"type": "Split", "pattern": {"String": "a", "Regex": "b"}, "behavior": "Isolated", "invert": false}`: nil,
		template(`[{"SpecialToken": {"id": "x", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]`, `{}`):                "fails",
		template(`[{"Sequence": {"id": "B", "type_id": 0}}]`, `{}`):                                                             "fails",
		template(`[{"Sequence": {"id": "A", "type_id": 0}}]`, `{"x": {"id": "x", "ids": [1], "tokens": []}}`):                   []int32{1},
		template(`[{"Sequence": {"id": "A"}}]`, `{}`):                                                                           nil,
		template(`["$A"]`, `{}`):                               nil,
		template(`[]`, `{}`):                                   []int32{},
		`"post_processor": {"sep": ["a", 0], "cls": ["a", 0]}`: []int32{0, 1, 0},
		`"post_processor": {"type": "x", "sep": ["a", 0], "cls": ["a", 0], "trim_offsets": 1, "add_prefix_space": true}`: []int32{0, 1, 0},
		`"truncation": {"max_length": 1, "strategy": "LongestFirst"}`:                                                    nil,
		`"truncation": {"max_length": 1, "strategy": "LongestFirst", "stride": 0}`:                                       []int32{1},
		`"padding": {"strategy": "BatchLongest", "direction": "Left", "pad_id": 0, "pad_type_id": 0, "pad_token": "a"}`:  []int32{1},
		`"padding": {"strategy": "BatchLongest", "direction": "Left", "pad_id": 0, "pad_type_id": 0}`:                    nil,
		`"decoder": {"type": "Foo", "suffix": "x"}`:                                                                      []int32{1},
		`"decoder": {}`:        nil,
		`"added_tokens": null`: nil,
		`"foo": 1`:             nil,
	} {
		tok, err := Load([]byte(`{"version": "1.0", "model": {"type": "WordLevel", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]"}, ` + part + `}`))
		typed(t, err)
		if err != nil {
			if want != nil {
				t.Errorf("%s: %v", part, err)
			}
			continue
		}
		ids, err := tok.Encode("a b", true)
		typed(t, err)
		switch w := want.(type) {
		case nil:
			t.Errorf("%s is taken: the library refuses it", part)
		case string:
			if err == nil {
				t.Errorf("%s: %v, the library fails", part, ids)
			}
		case []int32:
			if err != nil || !slices.Equal(ids, w) {
				t.Errorf("%s: %v %v, want %v", part, ids, err, w)
			}
		}
	}
}

// TestModelSchema is the same for models: their answers for "a".
func TestModelSchema(t *testing.T) {
	for model, want := range map[string][]int32{
		`{"vocab": {"a": 0}, "unk_token": "a"}`:                              {0},
		`{"type": "", "vocab": {"a": 0}, "unk_token": "a"}`:                  nil,
		`{"type": "WordPieceX", "vocab": {"a": 0}, "unk_token": "a"}`:        nil,
		`{"type": "BPE", "vocab": {"a": 0}, "merges": [], "fuse_unk": null}`: {0},
		`{"type": "BPE", "vocab": {"a": 0}, "merges": [], "fuse_unk": 1}`:    nil,
		`{"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 1}`:     {0},
		`{"type": "Unigram", "vocab": [["a", 0]], "byte_fallback": null}`:    nil,
		`{"type": "Unigram", "vocab": [["a", 0]], "unk_id": null}`:           {0},
		`{"type": "Unigram", "vocab": [["a", 0]], "unk_id": 1.0}`:            nil,
		`{"vocab": [["a", 0]]}`: {0},
		`{"vocab": {"a": 0}, "unk_token": "a", "continuing_subword_prefix": []}`:                                                        {0},
		`{"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "a", "continuing_subword_prefix": "##", "max_input_chars_per_word": -1}`: nil,
	} {
		tok, err := Load([]byte(`{"model": ` + model + `}`))
		typed(t, err)
		if (err == nil) != (want != nil) {
			t.Errorf("%s: error %v, want ids %v", model, err, want)
		}
		if err != nil {
			if strings.Contains(err.Error(), "%!") {
				t.Error(err)
			}
			continue
		}
		if ids, err := tok.Encode("a", false); err != nil || !slices.Equal(ids, want) {
			t.Errorf("%s: %v %v, want %v", model, ids, err, want)
		}
	}
}
