package dequant

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/view"
)

// compressed reads the formats of compressed-tensors. One group of settings is allowed, as in the reference.
func (s *Set) compressed(q config.Object, original string) error {
	format, _ := q.String("format")
	refuse := func(text string, args ...any) error {
		return &fault.Unsupported{On: "config.json: quantization_config", Says: "compressed-tensors " + format + ": " + fmt.Sprintf(text, args...), Next: madeFrom(original)}
	}
	if CompressedNVFP4(q) {
		return nil // they have been taken out before
	}
	groups, _ := q.Object("config_groups")
	if len(groups) != 1 {
		return refuse("%d groups of settings, one is read", len(groups))
	}
	group, _ := groups.Object(slices.Collect(maps.Keys(groups))[0])
	weights, _ := group.Object("weights")
	strategy, _ := weights.String("strategy")
	switch format {
	case "float-quantized", "int-quantized", "naive-quantized":
		if strategy != "channel" && strategy != "block" && strategy != "tensor" || weights["group_size"] != nil {
			return refuse("scales by %s", strategy)
		}
		block, err := extents(weights, "block_structure")
		if err != nil {
			return err
		}
		err = s.each(".weight_scale", ".weight", func(w, scale view.Tensor) (view.Tensor, error) { return Scaled(w, scale, block) })
		// FP8 as Q8_0 is for this format alone: others may hold integers under the same names.
		if kind, _ := weights.String("type"); format != "float-quantized" || kind != "float" {
			for i := range s.list {
				s.list[i].FP8 = false
			}
		}
		s.dropEnds(".input_scale", ".k_scale", ".v_scale")
		return err
	case "pack-quantized":
		kind, typed := weights.String("type")
		bits, hasBits := weights.Int("num_bits")
		size, hasSize := weights.Int("group_size")
		if strategy != "group" || typed && kind != "int" || !hasBits || !hasSize {
			return refuse("%s of type %s, %v bits in groups of %v", strategy, kind, weights["num_bits"], weights["group_size"])
		}
		if slices.ContainsFunc(s.Names(), func(n string) bool { return strings.HasSuffix(n, ".weight_g_idx") }) {
			return refuse("groups in the order of activations (actorder) are not read")
		}
		return s.packed(bits, size)
	}
	return refuse("this format is not read")
}

func (s *Set) packed(bits, size int64) error {
	for _, name := range s.Names() {
		base, ok := strings.CutSuffix(name, "_packed")
		if !ok || !strings.HasSuffix(base, ".weight") {
			continue
		}
		t, err := s.need(base, "_packed", "_scale", "_shape")
		if err != nil {
			return err
		}
		p := Packed{Codes: t[0].View, Scales: t[1].View, Extent: t[2].View, Bits: bits, Group: size}
		if z, ok := s.Find(base + "_zero_point"); ok {
			p.Zeros = &z.View
		}
		v, err := p.Tensor(base)
		if err != nil {
			return err
		}
		s.Append(Tensor{Name: base, View: v, Source: t[0].Source})
		for _, end := range []string{"_packed", "_scale", "_shape", "_zero_point"} {
			s.Take(base + end)
		}
	}
	return nil
}

// CompressedNVFP4 tells whether every group of settings is NVFP4.
func CompressedNVFP4(q config.Object) bool {
	switch format, _ := q.String("format"); format {
	case "nvfp4-pack-quantized":
		return true
	case "mixed-precision":
		groups, _ := q.Object("config_groups")
		for _, g := range groups {
			if o, ok := g.(config.Object); ok && o["format"] != "nvfp4-pack-quantized" {
				return false
			}
		}
		return len(groups) > 0
	}
	return false
}
