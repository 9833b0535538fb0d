package config

import "quern/convert/fault"

// Text is what the reference's TextModel works with (conversion/base.py:1310): the root with text_config's keys
// over it, and the rope parameters, which are rope_parameters or else rope_scaling, completed from the root.
// rope is never nil; where the configuration has such an object it is also the one in the merged object, so that
// later readers of rope_scaling see the completed keys as the reference's do.
func (c *Config) Text() (merged, rope Object, err error) {
	if v, ok := c.Object["text_config"]; ok {
		over, ok := v.(Object)
		if !ok {
			return nil, nil, &fault.Invalid{On: file + ": text_config", Says: "an object is needed, not " + kind(v)}
		}
		merged = c.Object.Merge(over)
	} else {
		merged = c.Object.Merge(nil)
	}
	// rope_parameters hides rope_scaling even when it is null.
	key := "rope_scaling"
	if merged.Has("rope_parameters") {
		key = "rope_parameters"
	}
	rope, ok := merged.Object(key)
	switch {
	case ok && len(rope) > 0:
		rope = rope.Merge(nil)
		merged[key] = rope
	case !merged.True(key):
		rope = Object{}
	default:
		return nil, nil, &fault.Invalid{On: file + ": " + key, Says: "an object is needed, not " + kind(merged[key])}
	}
	merged.fillRope(rope)
	return merged, rope, nil
}

// fillRope mirrors the rope keys of the root into the rope parameters, unless these are by kind of attention. Names of
// the same number differ between model families; later code asks the rope parameters only.
// Source: conversion/base.py:1317.
func (o Object) fillRope(rope Object) {
	if rope.Has("full_attention", "sliding_attention") {
		return
	}
	if v, _ := o.Find("local_rope_theta", "rope_local_theta", "rope_theta_local", "swa_rope_theta", "rope_local_base_freq"); v != nil {
		rope["sliding_attention"] = Object{"rope_theta": v}
	}
	// A key that is there stays, null included; a null of the root is not mirrored.
	fill := func(key string, v any) {
		if _, ok := rope[key]; !ok && v != nil {
			rope[key] = v
		}
	}
	find := func(keys ...string) any { v, _ := o.Find(keys...); return v }
	fill("rope_theta", find("global_rope_theta", "rope_global_theta", "rope_theta_global", "rope_theta", "rotary_emb_base"))
	fill("rope_type", rope["type"])
	fill("partial_rotary_factor", find("partial_rotary_factor", "rope_pct", "rope_percent"))
	fill("original_max_position_embeddings", find("original_max_position_embeddings"))
}

// topLevel are the architectures that the reference routes by the root's name although text_config has one.
// Source: conversion/base.py:2848.
var topLevel = map[string]bool{
	"StepVLForConditionalGeneration": true, "Sarashina2VisionForCausalLM": true, "Exaone4_5_ForConditionalGeneration": true,
	"Step3p7ForConditionalGeneration": true, "KimiK3ForConditionalGeneration": true,
}

// Architecture is the name that decides how the text model is converted: architectures[0] of text_config, else of
// the root, else by ssm_cfg for the first Mamba checkpoints.
func (c *Config) Architecture() (string, error) { return c.architecture("text_config") }

// ProjectorArchitecture is the same for the vision or audio part: vision_config's name goes before the root's.
func (c *Config) ProjectorArchitecture() (string, error) { return c.architecture("vision_config") }

func (c *Config) architecture(part string) (string, error) {
	name := ""
	if list, _ := c.Strings("architectures"); len(list) > 0 {
		name = list[0]
	} else if ssm, ok := c.Object.Object("ssm_cfg"); ok {
		if name, ok = ssm.String("layer"); !ok {
			name = "Mamba"
		}
		name += "ForCausalLM"
	}
	if part == "text_config" && topLevel[name] {
		return name, nil
	}
	if sub, ok := c.Object.Object(part); ok {
		if list, _ := sub.Strings("architectures"); len(list) > 0 {
			name = list[0]
		}
	}
	if name == "" {
		return "", &fault.Invalid{On: file, Says: "no architectures: cannot tell what model this is", Next: "add \"architectures\": [\"...\"] or use --as"}
	}
	return name, nil
}
