package config

import (
	"errors"
	"fmt"
	"slices"
)

// layer_types came late to transformers: a class fills it in from the key that said so before (a window pattern, an
// interval, a list of layers without rope), and a list in the file wins over all of these. The list is checked
// against four kinds. Hybrid models name their layers otherwise and skip the check.

// Kinds of layers, as `layer_types` names them.
const (
	sliding = "sliding_attention"
	full    = "full_attention"
	chunked = "chunked_attention"
	linear  = "linear_attention"
)

// pattern gives the kind of layer i (from 0).
type pattern func(i int) (string, error)

// layerTypes fills in layer_types where they are null and checks them: known kinds, one for each layer.
func layerTypes(make func(b *build) pattern) step {
	return func(b *build) error {
		if err := b.fillLayers(make(b)); err != nil {
			return err
		}
		return b.checkLayers(b.vals["num_hidden_layers"])
	}
}

// fillLayers makes the list within maxLayers. A pattern fails where Python would, so only when a layer needs it.
func (b *build) fillLayers(kindOf pattern) error {
	if b.vals["layer_types"] != nil {
		return nil
	}
	n, err := b.layers()
	if err != nil {
		return err
	}
	list := make([]any, n)
	for i := range list {
		if list[i], err = kindOf(i); err != nil {
			return err
		}
	}
	b.vals["layer_types"] = list
	return nil
}

// checkLayers fails for a kind that transformers does not know; want nil leaves the number of layers open.
func (b *build) checkLayers(want any) error {
	list, ok := b.vals["layer_types"].([]any)
	if !ok {
		return errors.New("layer_types is " + kind(b.vals["layer_types"]))
	}
	for _, v := range list {
		if v != sliding && v != full && v != chunked && v != linear {
			return fmt.Errorf("layer_types has %s", kind(v))
		}
	}
	if want != nil && !same(want, int64(len(list))) {
		return fmt.Errorf("layer_types has %d entries, num_hidden_layers is %s", len(list), kind(want))
	}
	return nil
}

// every is one kind for each layer whose number (from 1) the interval divides, the other kind for the rest.
func every(interval any, hit, miss string) pattern {
	return func(i int) (string, error) {
		m, err := mod.of(int64(i+1), interval)
		if err != nil {
			return "", fmt.Errorf("the interval between layers is %s: %w", kind(interval), err)
		}
		if Truth(m) {
			return miss, nil
		}
		return hit, nil
	}
}

// fullEvery slides on all layers but each n-th.
func fullEvery(n int64) func(b *build) pattern {
	return func(*build) pattern { return every(n, full, sliding) }
}

// windowed slides from layer max_window_layers on if there is a window.
func windowed(b *build) pattern {
	return func(i int) (string, error) {
		if b.vals["sliding_window"] == nil {
			return full, nil
		}
		below, err := less(int64(i), b.vals["max_window_layers"])
		if err != nil || below {
			return full, err
		}
		return sliding, nil
	}
}

// windowPattern is the interval under sliding_window_pattern, which also stays as a private attribute.
func windowPattern(otherwise int64) func(b *build) pattern {
	return func(b *build) pattern {
		v, ok := b.vals["sliding_window_pattern"]
		if !ok {
			v = otherwise
		}
		b.vals["_sliding_window_pattern"] = v
		return every(v, full, sliding)
	}
}

// exaoneLayers are full at each sliding_window_pattern-th layer.
func exaoneLayers(b *build) pattern {
	interval := b.vals["sliding_window_pattern"]
	if b.vals["sliding_window"] == nil {
		interval = int64(0) // fails in the division, unless layer_types are given
	}
	return every(interval, full, sliding)
}

// qwenNextLayers are linear but each full_attention_interval-th, a key that is no parameter.
func qwenNextLayers(b *build) pattern {
	interval, ok := b.vals["full_attention_interval"]
	if !ok {
		interval = int64(4)
	}
	return every(interval, full, linear)
}

func miniMaxLayers(*build) pattern { return every(int64(2), linear, full) }

// ropeLayers is the list of 1 (rope) and 0 (every interval-th layer, none).
func (b *build) ropeLayers(interval any) ([]any, error) {
	n, err := b.layers()
	if err != nil {
		return nil, err
	}
	kindOf, list := every(interval, "", "rope"), make([]any, n)
	for i := range list {
		s, err := kindOf(i)
		if err != nil {
			return nil, err
		}
		list[i] = int64(min(len(s), 1))
	}
	return list, nil
}

// smolRopeLayers leaves every no_rope_layer_interval-th layer without rope.
func smolRopeLayers(b *build) error {
	if b.vals["no_rope_layers"] != nil {
		return nil
	}
	list, err := b.ropeLayers(b.vals["no_rope_layer_interval"])
	b.vals["no_rope_layers"] = list
	return err
}

// smolLayers slide where there is a window and no rope.
func smolLayers(b *build) pattern {
	return func(i int) (string, error) {
		list, ok := b.vals["no_rope_layers"].([]any)
		if !ok || i >= len(list) {
			return "", errors.New("no_rope_layers does not cover every layer")
		}
		if Truth(list[i]) || !Truth(b.vals["use_sliding_window"]) || b.vals["sliding_window"] == nil {
			return full, nil
		}
		return sliding, nil
	}
}

// llama4Layers sets no_rope_layers, moe_layers and layer_types.
func llama4Layers(b *build) error {
	list, err := b.ropeLayers(b.vals["no_rope_layer_interval"])
	if err != nil {
		return err
	}
	if !Truth(b.vals["no_rope_layers"]) {
		b.vals["no_rope_layers"] = list
	}
	if err := b.moeLayers(); err != nil {
		return err
	}
	if b.vals["layer_types"] == nil {
		given, ok := b.vals["no_rope_layers"].([]any)
		if !ok {
			return errors.New("no_rope_layers is " + kind(b.vals["no_rope_layers"]))
		}
		kinds := make([]any, len(given))
		for i, v := range given {
			kinds[i] = full
			if Truth(v) {
				kinds[i] = chunked
			}
		}
		b.vals["layer_types"] = kinds
	}
	return b.checkLayers(b.vals["num_hidden_layers"])
}

// moeLayers are every interleave_moe_layer_step-th layer.
func (b *build) moeLayers() error {
	if b.vals["moe_layers"] != nil {
		return nil
	}
	stride, _, ok := number(b.vals["interleave_moe_layer_step"])
	if _, isFloat := b.vals["interleave_moe_layer_step"].(float64); !ok || isFloat || stride == 0 {
		return errors.New("interleave_moe_layer_step is " + kind(b.vals["interleave_moe_layer_step"]))
	}
	n, err := b.layers()
	if err != nil {
		return err
	}
	list := []any{}
	if stride > 0 && stride <= maxLayers {
		for i := int(stride) - 1; i < n; i += int(stride) {
			list = append(list, int64(i))
		}
	} else if stride < 0 {
		return errors.New("interleave_moe_layer_step is negative")
	}
	b.vals["moe_layers"] = list
	return nil
}

// lfm2Layers are attention where full_attn_idxs lists them, else convolution.
func lfm2Layers(b *build) error {
	if b.vals["layer_types"] != nil {
		return nil
	}
	n, err := b.layers()
	if err != nil {
		return err
	}
	listed := b.vals["full_attn_idxs"]
	list, ok := listed.([]any)
	if listed != nil && !ok && n > 0 {
		return errors.New("full_attn_idxs is " + kind(listed))
	}
	kinds := make([]any, n)
	for i := range kinds {
		kinds[i] = "conv"
		if listed == nil || slices.ContainsFunc(list, func(v any) bool { return same(v, int64(i)) }) {
			kinds[i] = full
		}
	}
	b.vals["layer_types"] = kinds
	return nil
}

// gemma3nLayers spreads the length over the layers and fills in the sparsity of the first ten.
func gemma3nSizes(b *build) error {
	layers := b.vals["num_hidden_layers"]
	switch v := b.vals["intermediate_size"].(type) {
	case []any:
		if !same(int64(len(v)), layers) {
			return fmt.Errorf("intermediate_size has %d entries, num_hidden_layers is %s", len(v), kind(layers))
		}
	default:
		n, err := b.layers()
		if err != nil {
			return err
		}
		b.vals["intermediate_size"] = slices.Repeat([]any{v}, n)
	}
	return nil
}

// gemma3nSparsity: the first ten layers of a model with more are sparse.
func gemma3nSparsity(b *build) error {
	layers := b.vals["num_hidden_layers"]
	if b.vals["activation_sparsity_pattern"] == nil {
		n, err := b.layers()
		if err != nil {
			return err
		}
		sparse := 0
		if n > 10 {
			sparse = 10
		}
		b.vals["activation_sparsity_pattern"] = append(slices.Repeat([]any{0.95}, sparse), slices.Repeat([]any{0.0}, n-sparse)...)
	}
	list, ok := b.vals["activation_sparsity_pattern"].([]any)
	if !ok || !same(int64(len(list)), layers) {
		return errors.New("activation_sparsity_pattern does not have one entry for each layer")
	}
	return nil
}
