package arch

// Granite 4 Vision: a SigLIP and several query-former projectors, each of which reads one layer of the tower and writes one of the
// text model: "layerwise" ones by pairs, "spatial" ones all from one layer. GGUF numbers them by the layer that they write.
//
// Source: llama.cpp v0.5.0, conversion/granite.py: Granite4VisionMmprojModel.

import (
	"fmt"
	"strconv"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
)

var _ = Register(Arch{
	Base: visionTower,
	HF:   []string{"Granite4VisionForConditionalGeneration"},
	Names: Rules{
		Drop("*vision_model.head*", "llama.cpp takes no embedding of a whole picture"),
		Drop("lm_head*", notProjector),
	}.Also(ProjectorRest),
	Tensors: Rules{Code("model.{layerwise|spatial}_projectors.#.*", "number by the layer that it writes", graniteProjector)},
	Keys: visionTower.Keys.Then(
		Set("projector_type", "granite4_vision"),
		Set("vision.attention.layer_norm_epsilon", CfgOr("layer_norm_eps", 1e-6)),
		Set("use_gelu", true),
		Set("vision.preproc_image_size", CfgOr("image_size", 384)),
		Set("vision.projector.query_side", graniteRate(0)),
		Set("vision.projector.window_side", graniteRate(1)),
		Set("vision.feature_layer", graniteList("layers that are read", func(f feature) int64 { return f.vision })),
		Set("vision.projector.spatial_offsets", graniteList("number of each spatial projector, else -1", func(f feature) int64 {
			if f.kind == "spatial" {
				return f.index
			}
			return -1
		})),
		Set("vision.image_grid_pinpoints", OfRoot(graniteGrid)),
	),
})

// graniteFeatures are the projectors in GGUF's order.
func graniteFeatures(e *Env) ([]feature, error) {
	whole := *e
	whole.Config = e.Root
	pairs, _ := whole.value("deepstack_layer_map")
	spatial, _ := whole.value("spatial_target_layers")
	features, err := projectorFeatures(&whole, pairs, spatial)
	if err != nil {
		return nil, err
	}
	layers, err := e.Int(OfRoot(In("vision_config", Cfg("num_hidden_layers"))))
	for i := range features {
		if features[i].vision < 0 {
			features[i].vision += layers
		}
	}
	return features, err
}

func graniteList(doc string, of func(feature) int64) Expr {
	return Fn(doc, func(e *Env) (any, error) {
		features, err := graniteFeatures(e)
		out := make([]int64, len(features))
		for i, f := range features {
			out[i] = of(f)
		}
		return out, err
	})
}

// graniteRate is one of the two numbers of downsample_rate, which is a text such as "4/8".
func graniteRate(i int) Expr {
	return Fn(fmt.Sprintf("number %d of downsample_rate", i), func(e *Env) (any, error) {
		text, _ := e.Root.String("downsample_rate")
		parts := strings.Split(text, "/")
		if len(parts) == 2 {
			if n, err := strconv.ParseInt(strings.TrimSpace(parts[i]), 10, 64); err == nil {
				return n, nil
			}
		}
		return nil, &fault.Invalid{On: "config.json: downsample_rate", Says: fmt.Sprintf("%q is not of the form 4/8", text)}
	})
}

// graniteGrid lists the sizes of pictures, each as width and height; the configuration has the height first.
var graniteGrid = Fn("image_grid_pinpoints, width first", func(e *Env) (any, error) {
	v, _ := e.value("image_grid_pinpoints")
	if !config.Truth(v) {
		return nil, nil
	}
	list, _ := asList(v)
	var out []any
	for _, p := range list {
		pair, _ := asList(p)
		if len(pair) != 2 {
			return nil, &fault.Invalid{On: "config.json: image_grid_pinpoints", Says: show(p) + " is no pair of sizes"}
		}
		out = append(out, pair[1], pair[0])
	}
	return out, nil
})

// graniteProjector puts the projector's number in GGUF where the checkpoint has its own; where a layer of the query former is
// numbered too, that number makes way for it: there is only ever one.
func graniteProjector(b *Build, it Item) ([]Item, error) {
	features, err := graniteFeatures(b.Env)
	if err != nil {
		return nil, err
	}
	at := -1
	for i, f := range features {
		if strings.HasPrefix(it.Name, fmt.Sprintf("model.%s_projectors.%d.", f.kind, f.index)) {
			at = i
		}
	}
	if at < 0 {
		return nil, &fault.Invalid{On: it.Source, Says: "config.json has no projector of this number"}
	}
	parts := strings.Split(it.Name, ".")
	var places []int
	for i, p := range parts {
		if isDigits(p) && i < len(parts)-1 {
			places = append(places, i)
		}
	}
	switch len(places) {
	case 1:
		parts[places[0]] = strconv.Itoa(at)
	case 2:
		parts[places[1]] = strconv.Itoa(at)
		parts = append(parts[:places[0]], parts[places[0]+1:]...)
	default:
		return nil, &fault.Unsupported{On: it.Source, Says: "its name has more numbers than those of a projector and of a layer"}
	}
	it.Name, it.Block = strings.Join(parts, "."), int64(at)
	return []Item{it}, nil
}
