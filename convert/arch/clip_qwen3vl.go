package arch

// Qwen3-VL, the towers of Qwen 3.5 and Qwen4-Exp, which are the same, GLM-4V, and Qwen3-Omni with its audio tower, which Qwen3-ASR
// has alone. Some layers of the tower feed the text model's first layers (deepstack); their mergers are numbered by themselves
// in the checkpoint and by the tower's layer in the file.
//
// Source: llama.cpp v0.5.0, conversion/qwen3vl.py: Qwen3VLVisionModel, Glm4VVisionModel, Qwen3OmniMmprojModel, Qwen3ASRMmprojModel;
// conversion/qwen4exp.py: Qwen4ExpVisionModel.

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"quern/convert/fault"
)

var deepstackIndexes = CfgOr("deepstack_visual_indexes", []any{})

// deepstackLayers tells for each layer of the tower whether it feeds the text model.
var deepstackLayers = Fn("whether each layer is in deepstack_visual_indexes", func(e *Env) (any, error) {
	n, err := e.Int(Or(Opt("num_hidden_layers"), 0))
	if err != nil || n <= 0 {
		return nil, err
	}
	if n > maxBlocks {
		return nil, &fault.Invalid{On: "config.json: vision_config.depth", Says: fmt.Sprintf("%d layers, at most %d", n, maxBlocks)}
	}
	out := make([]bool, n)
	list, err := deepstackList(e)
	for _, at := range list {
		if at < 0 || at >= n {
			return nil, &fault.Invalid{On: "config.json: deepstack_visual_indexes", Says: fmt.Sprintf("layer %d of %d", at, n)}
		}
		out[at] = true
	}
	return out, err
})

func deepstackList(e *Env) ([]int64, error) {
	v, err := OfVision(deepstackIndexes).Eval(e)
	if err != nil {
		return nil, err
	}
	list, ok := asList(v)
	out := make([]int64, len(list))
	for i := range list {
		n, isInt := integer(list[i])
		if ok = ok && isInt && n.IsInt64(); ok {
			out[i] = n.Int64()
		}
	}
	if !ok {
		return nil, &fault.Invalid{On: "config.json: deepstack_visual_indexes", Says: "a list of layers is needed, not " + show(v)}
	}
	return out, nil
}

// deepstackMerger names a tensor of a merger by the layer that it reads.
func deepstackMerger(b *Build, it Item) ([]Item, error) {
	number, rest, _ := strings.Cut(strings.TrimPrefix(it.Name, "visual.deepstack_merger_list."), ".")
	part, end, _ := strings.Cut(rest, ".")
	layers, err := deepstackList(b.Env)
	if err != nil {
		return nil, err
	}
	i, err := strconv.Atoi(number)
	if err != nil || i >= len(layers) {
		return nil, &fault.Invalid{On: it.Source, Says: fmt.Sprintf("merger %s, deepstack_visual_indexes has %d layers", number, len(layers))}
	}
	it.Name = fmt.Sprintf("v.deepstack.%d.%s.%s", layers[i], strings.TrimPrefix(part, "linear_"), end)
	return []Item{it}, nil
}

// gridSize is the size of the picture that the learned positions cover.
var gridSize = Fn("int(sqrt(num_position_embeddings) * patch_size)", func(e *Env) (any, error) {
	n, err := e.Float(CfgOr("num_position_embeddings", 2304))
	if err != nil {
		return nil, err
	}
	patch, err := e.Float(CfgOr("patch_size", 16))
	if side := math.Sqrt(n) * patch; side >= 0 && side < 1<<31 {
		return int64(side), err
	}
	return nil, &fault.Invalid{On: "config.json: num_position_embeddings", Says: show(n) + " positions"}
})

var (
	qwen3vlConfig = When(Not(Has("image_size")), Let("image_size", gridSize)).Then(
		Let("num_attention_heads", Opt("num_heads")),
		Let("num_hidden_layers", Opt("depth")),
	)
	qwen3vlOwn  = Rules{Drop("lm_head.*|mtp.*", notProjector), Rename("model.visual.*", "model.visual.=>visual.")}
	qwen3vlKeys = Keys{Set("use_gelu", true)}.Also(
		When(Not(Null(Opt("spatial_merge_size"))), Set("vision.spatial_merge_size", Trunc(Cfg("spatial_merge_size")))),
	).Then(
		Set("vision.attention.layer_norm_epsilon", OfRoot(Else(In("text_config", Opt("rms_norm_eps")), 1e-6))),
		Set("vision.is_deepstack_layers", deepstackLayers),
	)
	qwen3vlTensors = Rules{
		Code("visual.deepstack_merger_list.#.{norm|linear_fc1|linear_fc2}.*", "name the merger by its layer", deepstackMerger),
		Rename("visual.merger.linear_fc1.*", "visual.merger.linear_fc1.=>mm.0."),
		Rename("visual.merger.linear_fc2.*", "visual.merger.linear_fc2.=>mm.2."),
		Rename("visual.merger.norm.*", "visual.merger.norm.=>v.post_ln."),
	}.Also(visualPatches)
	visualPatches = Rules{
		frames("visual.patch_embed.proj.weight"),
		Rename("visual.patch_embed.proj.bias", "v.patch_embd.bias"),
	}
)

var qwen3vlVision = Register(Arch{
	Base: visionTower,
	HF: []string{"Qwen3VLForConditionalGeneration", "Qwen3VLMoeForConditionalGeneration", "Qwen3_5ForConditionalGeneration",
		"Qwen3_5MoeForConditionalGeneration", "Qwen4ExpForConditionalGeneration"},
	Config:  qwen3vlConfig,
	Names:   qwen3vlOwn.Then(Only("visual.*")).Also(ProjectorRest),
	Tensors: qwen3vlTensors,
	Keys:    visionTower.Keys.Then(Set("projector_type", "qwen3vl_merger")).Also(qwen3vlKeys),
})

var _ = Register(Arch{
	Base:    qwen3vlVision,
	HF:      []string{"Glm4vForConditionalGeneration", "Glm4vMoeForConditionalGeneration", "GlmOcrForConditionalGeneration"},
	Tensors: qwen3vlTensors[:1].Also(visualPatches),
	Keys: visionTower.Keys.Then(Set("projector_type", "glm4v")).Also(
		When(Is(lower(CfgOr("hidden_act", "")), "gelu"), Set("use_gelu", true)),
		When(Is(lower(CfgOr("hidden_act", "")), "silu"), Set("use_silu", true)),
	).Then(Set("vision.attention.layer_norm_epsilon", CfgOr("rms_norm_eps", 1e-5))),
})

// lower is a text in lower case; other values have none.
func lower(x Expr) Expr {
	return Fn("lower("+x.String()+")", func(e *Env) (any, error) {
		v, err := x.Eval(e)
		s, _ := v.(string)
		return strings.ToLower(s), err
	})
}

// omniVision evens the names of Qwen3-Omni's vision tower out, which are those of an older merger.
var omniVision = Rules{
	Rename("thinker.visual.*", "thinker.=>"),
	Rename("visual.merger_list.*", ".merger_list.=>.deepstack_merger_list."),
	Rename("visual.{deepstack_merger_list|merger}.*", ".ln_q=>.norm"),
	Rename("visual.{deepstack_merger_list|merger}.*", ".mlp.0=>.linear_fc1"),
	Rename("visual.{deepstack_merger_list|merger}.*", ".mlp.2=>.linear_fc2"),
}

// omniSound are the tower's own biases of convolutions over two dimensions.
var omniSound = On("*audio_tower.*conv2d*.bias", Unsqueeze(-1), Unsqueeze(-1))

var qwen3Omni = Register(Arch{
	Base:    bothTowers,
	HF:      []string{"Qwen3OmniMoeForConditionalGeneration"},
	Vision:  In("thinker_config", Opt("vision_config")),
	Audio:   In("thinker_config", Opt("audio_config")),
	Config:  qwen3vlConfig.Also(qwenSoundConfig),
	Names:   qwen3vlOwn.Then(Rename("thinker.audio_tower.*", "thinker.=>"), Only("*visual.*|*audio_tower.*")).Also(ProjectorRest),
	Extra:   []Generate{sinusoids},
	Tensors: omniVision.Also(qwen3vlTensors).Then(omniSound).Also(whisperBiases),
	Force:   qwenSoundForce,
	Keys: bothTowers.Keys.Also(qwenSoundKeys, qwen3vlKeys).Then(
		Set("vision.projector_type", "qwen3vl_merger"),
		Set("audio.projector_type", "qwen3a"),
	),
})

var _ = Register(Arch{
	Base:    audioTower,
	HF:      []string{"Qwen3ASRForConditionalGeneration"},
	Vision:  Const(nil),
	Audio:   qwen3Omni.Audio,
	Config:  qwenSoundConfig,
	Names:   qwen3Omni.Names,
	Extra:   []Generate{sinusoids},
	Tensors: Rules{Refuse("*visual.*", "a vision tower where the class has none"), omniSound}.Also(whisperBiases),
	Force:   qwenSoundForce,
	Keys:    audioTower.Keys.Also(qwenSoundKeys).Then(Set("audio.projector_type", "qwen3a")),
})
