package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Rules of one class each. They stand here and not beside the class because steps.go is the list that one reads.

// deepseekDims computes the sum even where the file has qk_head_dim, and fails with it.
func deepseekDims(b *build) error {
	sum, err := plus.of(b.vals["qk_nope_head_dim"], b.vals["qk_rope_head_dim"])
	b.preset("qk_head_dim", sum)
	b.preset("head_dim", b.vals["qk_rope_head_dim"])
	return err
}

// lastMoeLayer turns -1 into the last layer.
func lastMoeLayer(b *build) (err error) {
	if same(b.vals["moe_layer_end_index"], int64(-1)) {
		b.vals["moe_layer_end_index"], err = minus.of(b.vals["num_hidden_layers"], int64(1))
	}
	return err
}

// omniSections are those of the released models.
func omniSections(b *build) error {
	if b.vals[scaling] == nil {
		b.vals[scaling] = Object{"mrope_section": []any{int64(16), int64(24), int64(24)}, "rope_type": "default", "type": "default"}
	}
	return nil
}

// olmo3Layers are full at each fourth.
func olmo3Layers(b *build) error {
	if err := b.fillLayers(every(int64(4), full, sliding)); err != nil {
		return err
	}
	return b.checkLayers(nil)
}

// ministralLayers are all of one kind, and are not checked.
func ministralLayers(b *build) error {
	return b.fillLayers(func(int) (string, error) {
		if b.vals["sliding_window"] != nil {
			return sliding, nil
		}
		return full, nil
	})
}

// falconMultipliers: null is 1, or as many as there are parts.
func falconMultipliers(b *build) error {
	for k, n := range map[string]int{"mlp_multipliers": 2, "ssm_multipliers": 5, "attention_out_multiplier": 0, "attention_in_multiplier": 0,
		"key_multiplier": 0, "ssm_in_multiplier": 0, "ssm_out_multiplier": 0} {
		switch {
		case b.vals[k] != nil:
		case n > 0:
			b.vals[k] = slices.Repeat([]any{1.0}, n)
		default:
			b.vals[k] = 1.0
		}
	}
	return nil
}

// graniteLayers: the hybrid names its layers otherwise than other models do.
func graniteLayers(b *build) error {
	v := b.vals["layer_types"]
	if v == nil {
		return nil
	}
	list, ok := v.([]any)
	if !ok || slices.ContainsFunc(list, func(v any) bool { return v != "mamba" && v != "attention" }) {
		return errors.New("layer_types must be mamba or attention")
	}
	return nil
}

// graniteRope: without rope its parameters are nobody's concern.
func graniteRope(b *build) error {
	if b.vals["position_embedding_type"] != "rope" {
		return nil
	}
	return rope()(b)
}

// expanded is int(expand * hidden_size): infinity fails.
func (b *build) expanded() (any, error) {
	w, err := times.of(b.vals["expand"], b.vals["hidden_size"])
	if err != nil {
		return nil, err
	}
	return whole(w)
}

// mambaWidth computes the width even where the file has one, and fails with it.
func mambaWidth(b *build) error {
	w, err := b.expanded()
	b.preset("intermediate_size", w)
	return err
}

func falconMambaWidth(b *build) (err error) {
	if b.vals["intermediate_size"] == nil {
		b.vals["intermediate_size"], err = b.expanded()
	}
	return err
}

// mamba2Heads compares products, so 2.0 for expand passes.
func mamba2Heads(b *build) error {
	width, err := times.of(b.vals["hidden_size"], b.vals["expand"])
	if err != nil {
		return err
	}
	if all, err := times.of(b.vals["num_heads"], b.vals["head_dim"]); err != nil || !same(all, width) {
		return errors.New("num_heads times head_dim must be hidden_size times expand")
	}
	return nil
}

// chameleonImage looks the image token up in the vocabulary of images.
func chameleonImage(b *build) error {
	var id any
	switch m := b.vals["vocabulary_map"].(type) {
	case nil:
	case Object:
		id = m["<image>"]
	default:
		return errors.New("vocabulary_map is " + kind(m))
	}
	b.preset("image_token_id", id)
	return nil
}

// labelsAsList: image models of timm list their labels.
func labelsAsList(b *build) error {
	ids, _ := b.vals.Object("id2label")
	numbers := make([]int, 0, len(ids))
	for k := range ids {
		n, _ := strconv.Atoi(k) // labels wrote the keys
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	names := make([]any, len(numbers))
	for i, n := range numbers {
		names[i] = ids[strconv.Itoa(n)]
	}
	b.preset("num_classes", int64(len(names)))
	b.preset("label_names", names)
	delete(b.vals, "id2label")
	delete(b.vals, "label2id")
	return nil
}

// janusPatches writes into the part that is already complete.
func janusPatches(b *build) error {
	vision, _ := b.vals.Object("vision_config")
	vq, _ := b.vals.Object("vq_config")
	b.preset("initializer_range", vision["initializer_range"])
	n, err := div.of(vision["image_size"], vision["patch_size"])
	vq["num_patches"] = n
	return err
}

// llama4Feature keeps vision_feature_layer under a private name as well.
func llama4Feature(b *build) error {
	v, ok := b.vals["vision_feature_layer"]
	if !ok {
		v = int64(-1)
	}
	b.preset("_vision_feature_layer", v)
	return nil
}

// voxtralSizes shows two of the text part's sizes at the root.
func voxtralSizes(b *build) error {
	text, _ := b.vals.Object("text_config")
	for _, k := range []string{"vocab_size", "hidden_size"} {
		v, ok := text[k]
		if !ok {
			return fmt.Errorf("text_config has no %s", k)
		}
		b.preset(k, v)
	}
	return nil
}

// falconFeedForward is four times hidden_size, whatever n_embed says.
func falconFeedForward(b *build) (err error) {
	if b.vals["ffn_hidden_size"] == nil {
		b.vals["ffn_hidden_size"], err = times.of(b.vals["hidden_size"], int64(4))
	}
	return err
}

// dbrxRoot takes the heads from the attention part.
func dbrxRoot(b *build) error {
	attention, _ := b.vals.Object("attn_config")
	b.preset("num_key_value_heads", attention["kv_n_heads"])
	if b.vals.True("tie_word_embeddings") {
		return errors.New("tie_word_embeddings is not supported for this model type")
	}
	b.preset("tie_word_embeddings", false)
	return nil
}

func dbrxActivation(b *build) error {
	if b.vals["ffn_act_fn"] == nil {
		b.vals["ffn_act_fn"] = Object{"name": "silu"}
	}
	return nil
}

// bigCodeHeads: one head for all queries, unless multi_query is off.
func bigCodeHeads(b *build) error {
	v := b.vals["n_head"]
	if b.vals.True("multi_query") {
		v = int64(1)
	}
	b.preset("num_key_value_heads", v)
	return nil
}

// t5Activation reads "gated-silu" and the like.
func t5Activation(b *build) error {
	name, ok := b.vals.String("feed_forward_proj")
	if !ok {
		return errors.New("feed_forward_proj is " + kind(b.vals["feed_forward_proj"]))
	}
	parts := strings.Split(name, "-")
	gated := parts[0] == "gated"
	if len(parts) > 2 || len(parts) > 1 && !gated {
		return fmt.Errorf("feed_forward_proj is %q, not {act} or gated-{act}", name)
	}
	b.preset("dense_act_fn", parts[len(parts)-1])
	b.preset("is_gated_act", gated)
	if name == "gated-gelu" {
		b.preset("dense_act_fn", "gelu_new")
	}
	return nil
}
