package card

import (
	"errors"
	"fmt"
	"math"
	"math/big"

	"quern/convert/config"
)

// kind is what a key of the file may hold.
type kind int

const (
	text    kind = iota // empty values of any type are left out
	license             // a text or a list of texts
	whole               // int32
	real                // float32
	list                // one type throughout
	origins             // base models or data sets
)

// key is one entry of the file with all the places it comes from. Its name in the file is also that in an
// override file, base models and data sets apart.
type key struct {
	name     string
	kind     kind
	card     []string // keys of the model card, the first that is present and not null wins
	gen      []string // keys of generation_config.json, the first that is present wins
	override string   // key of an override file where it is not the name; "-" for none
}

const (
	// Keys that code asks for by name.
	baseModels = "general.base_model"
	dataSets   = "general.dataset"
	tags       = "general.tags"
	languages  = "general.languages"
)

// keys are in the order of the file.
// Source: gguf-py/gguf/metadata.py, set_gguf_meta_model and apply_metadata_heuristic.
var keys = []key{
	{name: "general.sampling.sequence", gen: []string{"sequence"}},
	{name: "general.sampling.top_k", kind: whole, gen: []string{"top_k"}},
	{name: "general.sampling.top_p", kind: real, gen: []string{"top_p"}},
	{name: "general.sampling.min_p", kind: real, gen: []string{"min_p"}},
	{name: "general.sampling.xtc_probability", kind: real, gen: []string{"xtc_probability"}},
	{name: "general.sampling.xtc_threshold", kind: real, gen: []string{"xtc_threshold"}},
	{name: "general.sampling.temp", kind: real, gen: []string{"temperature"}},
	{name: "general.sampling.penalty_last_n", kind: whole, gen: []string{"penalty_last_n"}},
	{name: "general.sampling.penalty_repeat", kind: real, gen: []string{"penalty_repeat", "repetition_penalty"}},
	{name: "general.sampling.mirostat", kind: whole, gen: []string{"mirostat"}},
	{name: "general.sampling.mirostat_tau", kind: real, gen: []string{"mirostat_tau"}},
	{name: "general.sampling.mirostat_eta", kind: real, gen: []string{"mirostat_eta"}},
	{name: "general.name", card: []string{"name", "model_name"}},
	{name: "general.author", card: []string{"author", "model_author", "model_creator"}},
	{name: "general.version", card: []string{"version", "model_version"}},
	{name: "general.organization", card: []string{"organization", "model_organization"}},
	{name: "general.finetune", card: []string{"finetune", "model_finetune"}},
	{name: "general.basename", card: []string{"basename", "model_basename", "model_type"}},
	{name: "general.description", card: []string{"description", "model_description"}},
	{name: "general.quantized_by"},
	{name: "general.size_label", card: []string{"size_label", "model_size_label"}},
	{name: "general.license", kind: license, card: []string{"license"}, override: "-"},
	{name: "general.license.name", card: []string{"license_name"}},
	{name: "general.license.link", card: []string{"license_link"}},
	{name: "general.url"},
	{name: "general.doi"},
	{name: "general.uuid"},
	{name: "general.repo_url"},
	{name: "general.source.url", card: []string{"url", "model_url"}},
	{name: "general.source.doi", card: []string{"doi", "model_doi"}},
	{name: "general.source.uuid", card: []string{"uuid", "model_uuid"}},
	{name: "general.source.repo_url", card: []string{"repo_url", "model_repo_url"}},
	{name: baseModels, kind: origins, card: []string{"base_model", "base_models", "base_model_sources"}, override: "general.base_models"},
	{name: dataSets, kind: origins, card: []string{"datasets", "dataset", "dataset_sources"}, override: "general.datasets"},
	{name: tags, kind: list, card: []string{"tags", "pipeline_tag"}},
	{name: languages, kind: list, card: []string{"languages", "language"}},
}

// sourceKeys are what the file tells of a base model or data set, in order.
var sourceKeys = []string{"name", "author", "version", "organization", "description", "url", "doi", "uuid", "repo_url"}

// typed is the value as the file holds it, nil when it is left out. The error says what is wrong with it.
func (k kind) typed(v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	switch k {
	case whole:
		return int32Of(v)
	case real:
		return float32Of(v)
	case list:
		return array(v)
	case license:
		if l, ok := v.([]any); ok {
			return joined(l)
		}
	}
	// Everything empty or zero counts as absent. The reference stumbles over such a part of a name only where it makes up the file's
	// name too; the file itself is the same.
	s, ok := v.(string)
	switch {
	case ok && s != "":
		return s, nil
	case ok, !config.Truth(v):
		return nil, nil
	}
	return nil, errors.New(describe(v) + ", a text is needed")
}

// joined is the list of licences as the file holds it.
func joined(l []any) (any, error) {
	out := ""
	for i, v := range l {
		s, ok := v.(string)
		if !ok {
			return nil, fmt.Errorf("%s at place %d of the list, a text is needed", describe(v), i+1)
		}
		if i > 0 {
			out += ","
		}
		out += s
	}
	if out == "" {
		return nil, nil
	}
	return out, nil
}

// int32Of takes booleans, as Python's struct does, and no float, not even 20.0.
func int32Of(v any) (any, error) {
	switch v := v.(type) {
	case bool:
		if v {
			return int32(1), nil
		}
		return int32(0), nil
	case int64:
		if v == int64(int32(v)) {
			return int32(v), nil
		}
	case *big.Int:
	default:
		return nil, errors.New(describe(v) + ", an integer is needed")
	}
	return nil, errors.New(describe(v) + ", beyond 32 bits")
}

// float32Of rounds once. What becomes infinite is refused, what is infinite stays; NaN keeps its quiet bits.
func float32Of(v any) (any, error) {
	if b, ok := v.(bool); ok {
		i, _ := int32Of(b)
		return float32(i.(int32)), nil
	}
	f, ok := config.Object{"": v}.Float("")
	switch {
	case !ok:
		return nil, errors.New(describe(v) + ", a number is needed")
	case math.IsInf(float64(float32(f)), 0) && !math.IsInf(f, 0), math.IsInf(f, 0) && !isFloat(v):
		return nil, errors.New(describe(v) + ", beyond float32")
	}
	return float32(f), nil
}

func isFloat(v any) bool { _, ok := v.(float64); return ok }

// array is a list of one type throughout; the first decides. An empty list is left out.
func array(v any) (any, error) {
	l, ok := v.([]any)
	if !ok {
		return nil, errors.New(describe(v) + ", a list is needed")
	}
	if len(l) == 0 {
		return nil, nil
	}
	var out any
	i := 0
	// The types are asked in the reference's order; bool before int matters, since a boolean is an integer in Python.
	switch l[0].(type) {
	case string:
		out, i = collect(l, func(v any) (string, bool) { s, ok := v.(string); return s, ok })
	case bool:
		out, i = collect(l, func(v any) (bool, bool) { b, ok := v.(bool); return b, ok })
	case int64:
		out, i = collect(l, func(v any) (int32, bool) {
			n, ok := v.(int64)
			return int32(n), ok && n == int64(int32(n))
		})
	case float64:
		out, i = collect(l, func(v any) (float32, bool) {
			if !isFloat(v) {
				return 0, false
			}
			f, err := float32Of(v)
			if err != nil {
				return 0, false
			}
			return f.(float32), true
		})
	}
	if i < len(l) {
		for j, v := range l { // a text is rarely the wrong one
			if _, ok := v.(string); !ok {
				i = j
				break
			}
		}
		return nil, fmt.Errorf("%s at place %d of the list, all must be texts (or all of one kind)", describe(l[i]), i+1)
	}
	return out, nil
}

// collect stops at the first element that does not fit and tells how many did.
func collect[T any](l []any, as func(any) (T, bool)) ([]T, int) {
	out := make([]T, 0, len(l))
	for i, v := range l {
		t, ok := as(v)
		if !ok {
			return nil, i
		}
		out = append(out, t)
	}
	return out, len(l)
}

// describe names a value for a message.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return fmt.Sprintf("the boolean %v (yes, no, on and off are booleans too)", v)
	case int64, *big.Int:
		return cut(fmt.Sprintf("the number %v", v))
	case float64:
		return "the number " + config.FormatFloat(v)
	case string:
		return cut(fmt.Sprintf("the text %q", v))
	case []any:
		return fmt.Sprintf("a list of %d", len(v))
	case config.Object:
		return "an object"
	case other:
		return cut("a date or another special value (" + string(v) + ")")
	}
	return fmt.Sprintf("a %T", v)
}

func cut(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "..."
	}
	return s
}
