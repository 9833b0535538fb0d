package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// rope_scaling named its type `type` before it was `rope_type`. A class that renames it (ropeType) accepts old files; one
// that does not (Cohere, Granite, Qwen3-VL) has every old file fail the check, so that it counts as it is. The check
// only warns of odd values, but compares some of them, and a comparison of null with a number fails.

// required are the keys that rope_scaling must have by its type; any other type passes unseen.
// Source: transformers modeling_rope_utils.py; a wrong type there fails in a comparison, so it does here.
var required = map[string][]string{
	"default":  {"rope_type"},
	"linear":   {"rope_type", "factor"},
	"dynamic":  {"rope_type", "factor"},
	"yarn":     {"rope_type", "factor"},
	"longrope": {"rope_type", "short_factor", "long_factor"},
	"llama3":   {"rope_type", "factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"},
}

const scaling = "rope_scaling"

var errScaling = errors.New("rope_scaling has a value of the wrong kind")

// ropeType gives rope_scaling.type its newer name; the file's object itself is changed.
func ropeType(b *build) error {
	if rs, ok := b.vals.Object(scaling); ok && rs.Has("type") {
		rs["rope_type"] = rs["type"]
	}
	return nil
}

// mropeType is ropeType for a type that later became a default with sections.
func mropeType(b *build) error {
	if rs, ok := b.vals.Object(scaling); ok && rs["type"] == "mrope" {
		rs["type"] = "default"
	}
	return ropeType(b)
}

// rope checks rope_scaling; keys named in ignored do not count as given.
func rope(ignored ...string) step {
	return func(b *build) error {
		v := b.vals[scaling]
		if v == nil {
			return nil
		}
		rs, ok := v.(Object)
		if !ok {
			return errors.New("rope_scaling is " + kind(v))
		}
		t, ok := rs.Find("rope_type", "type")
		if !ok {
			t = "default"
		}
		name, ok := t.(string)
		if _, list := t.([]any); list {
			return errScaling
		} else if _, object := t.(Object); object {
			return errScaling
		} else if !ok {
			return nil
		}
		// An ignored key does not count as given even where it is required.
		for _, k := range required[name] {
			if !rs.Has(k) || slices.Contains(ignored, k) {
				return fmt.Errorf("rope_scaling of type %q lacks %s", name, k)
			}
		}
		return b.ropeNumbers(name, rs)
	}
}

// ropeNumbers makes the comparisons in which the reference would fail.
func (b *build) ropeNumbers(name string, rs Object) error {
	longest := b.vals["max_position_embeddings"]
	switch name {
	// Defaults stand in for null and 0; a zero trained length divides.
	case "yarn":
		fast, slow := any(int64(32)), any(int64(1))
		if rs.True("beta_fast") {
			fast = rs["beta_fast"]
		}
		if rs.True("beta_slow") {
			slow = rs["beta_slow"]
		}
		_, err := less(fast, slow)
		if v := rs["original_max_position_embeddings"]; v != nil && err == nil {
			_, err = div.of(longest, v)
		}
		return err
	case "llama3":
		_, err := less(rs["low_freq_factor"], rs["high_freq_factor"])
		if err == nil {
			_, err = less(rs["original_max_position_embeddings"], longest)
		}
		return err
	case "longrope":
		return b.longFactors(rs)
	}
	return nil
}

// longFactors evaluates what the reference only warns about: lengths may differ, but must exist.
func (b *build) longFactors(rs Object) error {
	dim, err := div.of(b.vals["hidden_size"], b.vals["num_attention_heads"])
	if err != nil {
		return err
	}
	if v, ok := b.vals["head_dim"]; ok {
		dim = v
	}
	if v, ok := b.vals["partial_rotary_factor"]; ok {
		dim, err = times.of(dim, v)
	}
	if err == nil {
		_, err = whole(dim)
	}
	for _, k := range []string{"short_factor", "long_factor"} {
		switch rs[k].(type) {
		case []any, string, Object:
		default:
			return errScaling
		}
	}
	return err
}

// ropeTwo wants exactly a type of linear or dynamic and a float factor above 1 (OLMo, Chameleon).
func ropeTwo(b *build) error {
	v := b.vals[scaling]
	if v == nil {
		return nil
	}
	rs, _ := v.(Object)
	factor, ok := rs["factor"].(float64)
	if t := rs["type"]; len(rs) != 2 || t != "linear" && t != "dynamic" || !ok || factor <= 1 {
		return errors.New("rope_scaling must have a type of linear or dynamic and a factor above 1.0, and nothing else")
	}
	return nil
}

// phi3Rope knows only longrope, under three names, with factors of half the rotary dimensions each.
func phi3Rope(b *build) error {
	v := b.vals[scaling]
	if v == nil {
		return nil
	}
	rs, ok := v.(Object)
	if !ok || len(rs) != 3 {
		return errors.New("rope_scaling must have type, short_factor and long_factor")
	}
	if t := rs["type"]; t == "su" || t == "yarn" {
		rs["type"] = "longrope"
	}
	if rs["type"] != "longrope" {
		return errors.New("rope_scaling: type is " + kind(rs["type"]))
	}
	dim, err := div.of(b.vals["hidden_size"], b.vals["num_attention_heads"])
	if err == nil {
		dim, err = times.of(dim, b.vals["partial_rotary_factor"])
	}
	if err == nil {
		dim, err = whole(dim)
	}
	if err != nil {
		return err
	}
	half, _ := div.of(dim, int64(2))
	for _, k := range []string{"short_factor", "long_factor"} {
		list, ok := rs[k].([]any)
		if !ok || slices.ContainsFunc(list, notNumber) || !same(int64(len(list)), half) {
			return fmt.Errorf("rope_scaling: %s must be %v numbers, not %s", k, half, kind(rs[k]))
		}
	}
	return nil
}

func notNumber(v any) bool { _, _, ok := number(v); return !ok }

// phimoeRope fills the type in, takes the trained length out, and wants both scales.
func phimoeRope(b *build) error {
	rs, ok := b.vals.Object(scaling)
	if !ok {
		return nil
	}
	if !rs.Has("rope_type") {
		rs["rope_type"] = rs["type"]
	}
	if v, ok := rs["original_max_position_embeddings"]; ok {
		b.preset("original_max_position_embeddings", v)
	}
	if notNumber(rs["short_mscale"]) || notNumber(rs["long_mscale"]) {
		return errors.New("rope_scaling: short_mscale and long_mscale must be numbers")
	}
	return nil
}

// deepseekFloats turns three factors into floats.
func deepseekFloats(b *build) error {
	rs, ok := b.vals.Object(scaling)
	if !ok {
		return nil
	}
	for _, k := range []string{"beta_fast", "beta_slow", "factor"} {
		v, ok := rs[k]
		if !ok {
			continue
		}
		f, _, ok := number(v)
		if text, isText := v.(string); isText {
			var err error
			f, err = strconv.ParseFloat(strings.TrimSpace(text), 64)
			ok = err == nil
		}
		if !ok {
			return errors.New("rope_scaling: " + k + " is " + kind(v))
		}
		rs[k] = f
	}
	return nil
}
