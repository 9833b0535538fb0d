package vocab

import (
	"quern/convert/gguf"
)

// The keys of a vocabulary. Source: gguf-py/gguf/constants.py, Keys.Tokenizer.
const (
	keyModel        = "tokenizer.ggml.model"
	keyPre          = "tokenizer.ggml.pre"
	keyTokens       = "tokenizer.ggml.tokens"
	keyTypes        = "tokenizer.ggml.token_type"
	keyTypeCount    = "tokenizer.ggml.token_type_count"
	keyScores       = "tokenizer.ggml.scores"
	keyMerges       = "tokenizer.ggml.merges"
	keyBOS          = "tokenizer.ggml.bos_token_id"
	keyEOS          = "tokenizer.ggml.eos_token_id"
	keyEOT          = "tokenizer.ggml.eot_token_id"
	keyUNK          = "tokenizer.ggml.unknown_token_id"
	keyPAD          = "tokenizer.ggml.padding_token_id"
	keyAddBOS       = "tokenizer.ggml.add_bos_token"
	keyAddEOS       = "tokenizer.ggml.add_eos_token"
	keyAddSEP       = "tokenizer.ggml.add_sep_token"
	keySpacePrefix  = "tokenizer.ggml.add_space_prefix"
	keyExtraSpaces  = "tokenizer.ggml.remove_extra_whitespaces"
	keyCharsmap     = "tokenizer.ggml.precompiled_charsmap"
	keyLowercase    = "tokenizer.ggml.normalizer.lowercase"
	keyStripAccents = "tokenizer.ggml.normalizer.strip_accents"
	keyTemplate     = "tokenizer.chat_template"
	keyTemplates    = "tokenizer.chat_templates"
)

// specialKeys names the entry of each kind of special token that the reference has a writer for; the others
// (cls, prefix, suffix, middle, fsep, ...) are read and dropped.
var specialKeys = map[string]string{
	"bos": keyBOS, "eos": keyEOS, "unk": keyUNK, "sep": "tokenizer.ggml.seperator_token_id", "pad": keyPAD,
	"mask": "tokenizer.ggml.mask_token_id", "eot": keyEOT, "eom": "tokenizer.ggml.eom_token_id",
}

// addKeys is the same for the flags add_*_token.
var addKeys = map[string]string{"bos": keyAddBOS, "eos": keyAddEOS, "sep": keyAddSEP}

// entries is metadata under construction. Setting a key again keeps its first place; empty texts and lists are dropped.
type entries []gguf.KV

// set writes an entry as the reference's writer does. Source: gguf-py/gguf/gguf_writer.py, add_key_value and add_string.
func (e *entries) set(key string, value any) {
	switch v := value.(type) {
	case string:
		if v == "" {
			return
		}
	case []string:
		if len(v) == 0 {
			return
		}
	case []uint8:
		if len(v) == 0 {
			return
		}
	case []float32:
		if len(v) == 0 {
			return
		}
	case []int32:
		if len(v) == 0 {
			return
		}
	}
	for i := range *e {
		if (*e)[i].Key == key {
			(*e)[i].Value = value
			return
		}
	}
	*e = append(*e, gguf.KV{Key: key, Value: value})
}

// remove takes an entry out; a later one of that key stands at the end.
func (e *entries) remove(key string) {
	for i := range *e {
		if (*e)[i].Key == key {
			*e = append((*e)[:i], (*e)[i+1:]...)
			return
		}
	}
}

// value is an entry's value; nil when there is none.
func (e entries) value(key string) any {
	for _, kv := range e {
		if kv.Key == key {
			return kv.Value
		}
	}
	return nil
}
