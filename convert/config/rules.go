package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Rules that several classes share. Three verbs say who wins: set and copyOf win over the file, orCopy and noList over
// null only, preset and presetCopy over nothing. A rule that fails makes the file count as it is, so a value that is
// computed and then not used is computed all the same.

// preset gives a key that is no parameter its default, unless the file has it.
func preset(key string, v any) step {
	return func(b *build) error { b.preset(key, v); return nil }
}

func (b *build) preset(key string, v any) {
	if !b.file.Has(key) {
		b.vals[key] = v
	}
}

// presetCopy is preset with the value of another key.
func presetCopy(key, from string) step {
	return func(b *build) error { b.preset(key, b.vals[from]); return nil }
}

// set overwrites what the file says.
func set(key string, v any) step {
	return func(b *build) error { b.vals[key] = v; return nil }
}

// copyOf overwrites a key with another's value.
func copyOf(key, from string) step {
	return func(b *build) error { b.vals[key] = b.vals[from]; return nil }
}

// orCopy fills in another key's value for null.
func orCopy(key, from string) step {
	return func(b *build) error {
		if b.vals[key] == nil {
			b.vals[key] = b.vals[from]
		}
		return nil
	}
}

// noList makes null an empty list.
func noList(key string) step {
	return func(b *build) error {
		if b.vals[key] == nil {
			b.vals[key] = []any{}
		}
		return nil
	}
}

var kvHeads = orCopy("num_key_value_heads", "num_attention_heads")

// perHead fails where Python's // does: null, text, zero heads.
func (b *build) perHead() (any, error) {
	d, err := div.of(b.vals["hidden_size"], b.vals["num_attention_heads"])
	if err != nil {
		return nil, fmt.Errorf("hidden_size / num_attention_heads: %w", err)
	}
	return d, nil
}

// headDim is hidden_size / num_attention_heads where head_dim is null.
func headDim(b *build) error {
	if b.vals["head_dim"] != nil {
		return nil
	}
	return setHeadDim(b)
}

// headDimOr is headDim for 0 too.
func headDimOr(b *build) error {
	if b.vals.True("head_dim") {
		return nil
	}
	return setHeadDim(b)
}

func setHeadDim(b *build) (err error) {
	b.vals["head_dim"], err = b.perHead()
	return err
}

// presetHeadDim computes the quotient even where the file has head_dim, and fails with it.
func presetHeadDim(b *build) error {
	d, err := b.perHead()
	b.preset("head_dim", d)
	return err
}

// given takes the value of an older name over, null too where it is present (n_embed: not null).
func given(key, older string) step {
	return func(b *build) error {
		v, ok := b.vals[older]
		if ok && (v != nil || older != "n_embed") {
			b.vals[key] = v
		}
		return nil
	}
}

// oneOf fails for any other text.
func oneOf(key string, texts ...string) step {
	return func(b *build) error {
		if s, ok := b.vals[key].(string); !ok || !slices.Contains(texts, s) {
			return fmt.Errorf("%s is %s, not one of %s", key, kind(b.vals[key]), strings.Join(texts, ", "))
		}
		return nil
	}
}

// below fails unless a < b.
func below(a, than string) step {
	return func(b *build) error {
		ok, err := less(b.vals[a], b.vals[than])
		if err == nil && !ok {
			err = fmt.Errorf("%s must be below %s", a, than)
		}
		return err
	}
}

// divides fails unless a divides n.
func divides(a, n string) step {
	return func(b *build) error {
		m, err := mod.of(b.vals[n], b.vals[a])
		if err == nil && Truth(m) {
			err = fmt.Errorf("%s must divide %s", a, n)
		}
		return err
	}
}

// only fails for keys beside those of any configuration and these.
func only(keys ...string) step {
	return func(b *build) error {
		for k := range b.rest {
			switch k {
			case "model_type", "transformers_version", "torch_dtype", "dtype":
			default:
				if !slices.Contains(keys, k) {
					return errors.New(k + " is unknown here")
				}
			}
		}
		return nil
	}
}

// windowIfUsed drops the window unless use_sliding_window.
func windowIfUsed(b *build) error {
	if !b.vals.True("use_sliding_window") {
		b.vals["sliding_window"] = nil
	}
	return nil
}

// halfWindow is the window of one side where attention looks both ways.
func halfWindow(b *build) error {
	if !b.vals.True("use_bidirectional_attention") {
		return nil
	}
	half, err := div.of(b.vals["sliding_window"], int64(2))
	if err == nil {
		b.vals["sliding_window"], err = plus.of(half, int64(1))
	}
	return err
}

// pair makes one size a list of two.
func pair(key string) step {
	return func(b *build) error {
		if _, ok := b.vals[key].([]any); !ok {
			b.vals[key] = []any{b.vals[key], b.vals[key]}
		}
		return nil
	}
}

// sixteenth is hidden_size / 16, rounded up, for the text auto.
func sixteenth(key string) step {
	return func(b *build) (err error) {
		if b.vals[key] == "auto" {
			b.vals[key], err = ceilOf(b.vals["hidden_size"], 16)
		}
		return err
	}
}

// mambaHeads is the size of a Mamba head; heads times size must be the inner width.
func mambaHeads(b *build) error {
	width, err := times.of(b.vals["mamba_expand"], b.vals["hidden_size"])
	// Only Falcon-H1 knows the key; elsewhere it is one that nobody reads.
	if v := b.vals["mamba_d_ssm"]; v != nil && b.cls.defaults.Has("mamba_d_ssm") {
		width, err = v, nil
	}
	if err != nil {
		return err
	}
	if m, err := mod.of(width, b.vals["mamba_n_heads"]); err != nil || Truth(m) {
		return errors.New("mamba_n_heads must divide the inner width")
	}
	if b.vals["mamba_d_head"] == "auto" {
		b.vals["mamba_d_head"], _ = div.of(width, b.vals["mamba_n_heads"])
	}
	if all, err := times.of(b.vals["mamba_d_head"], b.vals["mamba_n_heads"]); err != nil || !same(all, width) {
		return errors.New("mamba_d_head times mamba_n_heads must be the inner width")
	}
	return nil
}
