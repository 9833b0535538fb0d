package arch

// Pixtral towers: Pixtral 12B (as Llava), Mistral Small 3.1 and LightOnOCR. Other Llava checkpoints have CLIP towers, which the
// reference's converter does not know. Rotary rows are in Hugging Face's order. Pixtral ends each row of a picture with
// [IMG_BREAK], whose embedding goes into the file where the text model's tensors are not under "language_model.".
//
// Source: llama.cpp v0.5.0, conversion/llava.py: LlavaVisionModel; conversion/lighton_ocr.py: LightOnOCRVisionModel.

import (
	"strconv"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/view"
)

var pixtral = Register(Arch{
	Base: visionTower,
	HF:   []string{"LlavaForConditionalGeneration", "Mistral3ForConditionalGeneration"},
	Config: Keys{
		Fail(Not(Is(Opt("model_type"), "pixtral")), "its vision tower is not Pixtral's, which is the only one of this class that llama.cpp's converter knows"),
		Let("layer_norm_eps", CfgOr("layer_norm_eps", 1e-5)),
		Let("image_break", pixtralBreak),
	},
	Tensors: Rules{
		Code("*embed_tokens.weight*", "row of [IMG_BREAK] to v.token_embd.img_break", pixtralBreakRow).Except(pixtralParts),
		Only(pixtralParts + "|v.token_embd.img_break"),
		On("*{q|k}_proj.{weight|bias}", Rotary(Cfg("num_attention_heads"))),
	},
	Keys: visionTower.Keys.Then(
		Set("projector_type", "pixtral"),
		Set("vision.attention.layer_norm_epsilon", Cfg("layer_norm_eps")),
	).Also(ActKeys).Then(
		Set("vision.spatial_merge_size", OfRoot(Opt("spatial_merge_size"))),
	),
})

const pixtralParts = "{multi_modal_projector|vision_tower|vision_encoder|vision_language_adapter|patch_merger}.*|pre_mm_projector_norm*"

var _ = Register(Arch{
	Base:   pixtral,
	HF:     []string{"LightOnOCRForConditionalGeneration"},
	Config: Keys{pixtral.Config[0], pixtral.Config[1], Let("image_break", -1)},
	Names: Rules{
		Rename("*model.vision_encoder.*", "model.vision_encoder.=>vision_tower."),
		Rename("*model.vision_projection.*", "model.vision_projection.=>multi_modal_projector."),
	}.Also(pixtral.Names),
	Keys: pixtral.Keys.Then(Set("projector_type", "lightonocr")),
})

const breakToken = "[IMG_BREAK]"

// pixtralBreak is the id of [IMG_BREAK] by tokenizer_config.json, else by tokenizer.json; both may have it in only one place.
var pixtralBreak = Fn("id of [IMG_BREAK]", func(e *Env) (any, error) {
	v, err := e.readJSON("tokenizer_config.json")
	if err != nil {
		return nil, err
	}
	o, _ := v.(config.Object)
	added, _ := o.Object("added_tokens_decoder")
	for id, entry := range added {
		entry, _ := entry.(config.Object)
		if n, err := strconv.ParseInt(id, 10, 64); entry["content"] == breakToken && err == nil {
			return n, nil
		}
	}
	if v, err = e.readJSON("tokenizer.json"); err != nil {
		return nil, err
	}
	o, _ = v.(config.Object)
	list, _ := o.List("added_tokens")
	for _, entry := range list {
		entry, _ := entry.(config.Object)
		if id, ok := entry.Int("id"); ok && entry["content"] == breakToken {
			return id, nil
		}
	}
	return nil, &fault.Invalid{On: "tokenizer.json", Says: "no " + breakToken + ", which ends each row of a picture"}
})

func pixtralBreakRow(b *Build, it Item) ([]Item, error) {
	id, err := b.Int(Cfg("image_break"))
	if err != nil {
		return nil, err
	}
	if id <= 0 {
		b.drop(it.Source, notProjector)
		return nil, nil
	}
	if it.View, err = view.Rows(it.View, id, id+1); err == nil {
		it.View, err = view.Squeeze(it.View, 0)
	}
	it.Name = "v.token_embd.img_break"
	return []Item{it}, err
}
