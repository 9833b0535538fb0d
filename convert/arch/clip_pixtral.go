package arch

// Pixtral towers in Mistral's own layout: "vision_encoder" of params.json. Rotary rows are in llama.cpp's order already, the adapter
// has names of its own, and how pictures are normed is written nowhere: it is mistral-common's.

import (
	"io/fs"
	"strconv"

	"quern/convert/config"
	"quern/convert/fault"
)

// MistralVision is the entry of the vision part of a checkpoint in Mistral's own layout.
var MistralVision = Register(Arch{
	Base:   visionTower,
	Vision: Opt("vision_encoder"),
	Audio:  Const(nil),
	Config: Keys{
		LetProcessor("image_mean", []any{0.48145466, 0.4578275, 0.40821073}),
		LetProcessor("image_std", []any{0.26862954, 0.26130258, 0.27577711}),
		Let("norm_eps", OfRoot(Cfg("norm_eps"))),
		Let("image_break", nativeBreak),
	},
	Tensors: Rules{
		Code("*tok_embeddings.weight*", "row of [IMG_BREAK] to v.token_embd.img_break", pixtralBreakRow).Except(pixtralParts),
		Only(pixtralParts + "|v.token_embd.img_break"),
		Rename("vision_language_adapter.w_in.{weight|bias}", "vision_language_adapter.w_in=>mm.1"),
		Rename("vision_language_adapter.w_out.{weight|bias}", "vision_language_adapter.w_out=>mm.2"),
	},
	Keys: Keys{FileTypeKey}.Also(visionKeysFor(OfRoot(Cfg("dim")))).Then(
		Set("projector_type", "pixtral"),
		Set("vision.attention.layer_norm_epsilon", Cfg("norm_eps")),
		Set("rope.freq_base", Cfg("rope_theta")),
		Set("use_silu", true),
	).Also(When(Is(Opt("mm_projector_id"), "patch_merge"), Set("vision.spatial_merge_size", Cfg("spatial_merge_size")))),
})

// nativeBreak is the id of [IMG_BREAK] by params.json, or where that has a placeholder by the tokenizer.
var nativeBreak = Fn("image_break_token_id, or by the tokenizer where it is negative", func(e *Env) (any, error) {
	id, err := e.Int(Cfg("image_break_token_id"))
	if id >= 0 || err != nil {
		return id, err
	}
	for _, file := range []struct{ name, list, text, id string }{{"tekken.json", "special_tokens", "token_str", "rank"}, {"tokenizer.json", "added_tokens", "content", "id"}} {
		if _, err := fs.Stat(e.Source, file.name); err != nil {
			continue
		}
		v, err := e.readJSON(file.name)
		if err != nil {
			return nil, err
		}
		o, _ := v.(config.Object)
		list, _ := o.List(file.list)
		for _, entry := range list {
			entry, _ := entry.(config.Object)
			if n, ok := entryID(entry[file.id]); ok && entry[file.text] == breakToken {
				return n, nil
			}
		}
	}
	return nil, &fault.Invalid{On: "tekken.json", Says: "no " + breakToken + ", which ends each row of a picture"}
})

// entryID takes a number that may be written as a text.
func entryID(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return n, err == nil
	}
	return 0, false
}
