package arch

// Janus-Pro's understanding tower and its aligner, whose layers are numbered on from fc1. The generator of pictures is left out.
//
// Source: llama.cpp v0.5.0, conversion/januspro.py: JanusProVisionModel.

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"quern/convert/fault"
)

var _ = Register(Arch{
	Base: visionTower,
	HF:   []string{"JanusForConditionalGeneration"},
	Config: When(All(Not(Has("intermediate_size")), Not(Null(Opt("mlp_ratio"))), Not(Null(Opt("hidden_size")))),
		Let("intermediate_size", Fn("round(hidden_size * mlp_ratio)", func(e *Env) (any, error) {
			n, err := e.Float(Mul(Cfg("hidden_size"), Cfg("mlp_ratio")))
			return int64(math.RoundToEven(n)), err
		})),
	),
	Names: Rules{
		Drop("model.{vqmodel|generation_embeddings|generation_aligner|generation_head}.*|{vqmodel|generation_embeddings|generation_aligner|generation_head}.*", notProjector),
	}.Also(ProjectorRest),
	Tensors: Rules{
		Code("model.aligner.*|aligner.*", "name mm.<0 for fc1, n + 1 for hidden layer n>", janusAligner),
		Only("model.vision_model.*|vision_model.*|mm.*"),
	},
	Keys: visionTower.Keys.Then(
		Set("projector_type", "janus_pro"),
		Set("vision.attention.layer_norm_epsilon", CfgOr("layer_norm_eps", 1e-6)),
	).Also(
		When(janusActs("gelu"), Set("use_gelu", true)),
		When(janusActs("silu"), Set("use_silu", true)),
	),
})

// janusActs compares hidden_act in any case of letters; others than the two are not written.
func janusActs(word string) Expr {
	return Fn("hidden_act is "+word, func(e *Env) (any, error) {
		s, _ := e.Config.String("hidden_act")
		return strings.EqualFold(s, word), nil
	})
}

func janusAligner(_ *Build, it Item) ([]Item, error) {
	rest := strings.TrimPrefix(strings.TrimPrefix(it.Name, "model."), "aligner.")
	index := 0
	if !strings.HasPrefix(rest, "fc1.") {
		number, _, ok := strings.Cut(strings.TrimPrefix(rest, "hidden_layers."), ".")
		n, err := strconv.Atoi(number)
		if !ok || err != nil || n < 0 || !strings.HasPrefix(rest, "hidden_layers.") {
			return nil, &fault.Unsupported{On: it.Source, Says: "an aligner has fc1 and numbered hidden_layers, not this"}
		}
		index = n + 1
	}
	it.Name = fmt.Sprintf("mm.%d%s", index, suffixOf(it.Name))
	return []Item{it}, nil
}
