package arch

import (
	"slices"

	"quern/convert/fault"
)

// What nearly every family shares. Source: conversion/base.py.

// TextNames drops the parts of multimodal checkpoints that are no text model and evens out two spellings. A family's own
// Names come before it: Rules{...}.Also(TextNames).
var TextNames = Rules{
	Drop("mlp*|vit.*|vpm.*|siglip2.*|conformer.*|merger.*|resampler.*|sound_encoder.*|sound_projection.*|speech_embeddings.*|"+
		"*visual.*|*vision.*|*audio.*|*talker.*|*vision_*|*audio_*|*token2wav.*|*code2wav.*|*projector.*|"+
		"*pre_mm_projector_norm*|*image_newline*|*view_seperator*|*patch_embed*|*patch_merger.*|*patch_merge_mlp.*|*model.connector.*",
		"not part of the text model"),
	Rename("*e_score_correction_bias", "e_score_correction_bias=>e_score_correction.bias"),
	Rename("*language_model.*", "language_model.=>"),
}

// ropeType is the kind of position scaling, in the words of the configuration; nil for none.
var ropeType = Rope(Opt("rope_type"))

func ropeIs(kinds ...any) Expr { return Is(ropeType, kinds...) }

// scaled holds for the two kinds that need a factor.
func scaled(kind string) Expr { return All(ropeIs(kind), Not(Is(Rope(Opt("factor")), nil))) }

// RopeKeys are the keys of position scaling.
var RopeKeys = When(scaled("linear"),
	Set("rope.scaling.type", "linear"),
	Set("rope.scaling.factor", Rope(Cfg("factor"))),
).Also(When(scaled("yarn"),
	Set("rope.scaling.type", "yarn"),
	Set("rope.scaling.factor", Rope(Cfg("factor"))),
	Set("rope.scaling.original_context_length", Rope(Cfg("original_max_position_embeddings"))),
	Set("rope.scaling.yarn_ext_factor", Rope(Opt("extrapolation_factor"))),
	Set("rope.scaling.yarn_attn_factor", Rope(Opt("attention_factor", "attn_factor"))),
	Set("rope.scaling.yarn_beta_fast", Rope(Opt("beta_fast"))),
	Set("rope.scaling.yarn_beta_slow", Rope(Opt("beta_slow"))),
)).Also(When(ropeIs("su", "longrope"),
	Set("rope.scaling.type", "longrope"),
)).Then(
	Set("rope.dimension_sections", mropeSections),
	Set("rope.freq_base", Rope(Opt("rope_theta"))),
	Set("rope.freq_base_swa", RopeAll(In("sliding_attention", Opt("rope_theta")))),
)

// mropeSections are the four sections of multimodal rope, zeros at the end; nil without them.
var mropeSections = Fn("mrope_section padded to 4", func(e *Env) (any, error) {
	v, ok := e.Rope["mrope_section"]
	if !ok {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, &fault.Invalid{On: "config.json: mrope_section", Says: "a list is needed, not " + show(v)}
	}
	list = slices.Clone(list[:min(len(list), 4)])
	for len(list) < 4 {
		list = append(list, int64(0))
	}
	return list, nil
})

// gatingFuncs are the numbers of expert_gating_func. Source: gguf-py/gguf/constants.py, ExpertGatingFuncType.
var gatingFuncs = map[string]int64{"softmax": 1, "sigmoid": 2, "sqrtsoftplus": 4}

var gatingFunc = Fn("number of the experts' score function", func(e *Env) (any, error) {
	v, _ := e.value("score_function", "scoring_func", "score_func", "moe_router_activation", "moe_router_activation_func", "expert_selection_fn")
	if v == nil {
		return nil, nil
	}
	name, _ := v.(string)
	if n, ok := gatingFuncs[name]; ok {
		return n, nil
	}
	return nil, &fault.Unsupported{On: "config.json", Says: "score function of the experts: " + show(v)}
})

// FileTypeKey is general.file_type: last in TextKeys, where most families write it.
var FileTypeKey = Do("general.file_type", func(m *Meta) error {
	number, _ := m.b.FileType()
	m.b.meta.put("general.file_type", number)
	return nil
})

// BlockCount is the number of blocks that are written.
var BlockCount = Fn("number of blocks", func(e *Env) (any, error) { return e.Blocks, nil })

// TextKeys are the keys of most families: each is written where the configuration has it.
var TextKeys = Keys{
	Set("block_count", BlockCount),
	Set("context_length", Opt("max_position_embeddings", "n_ctx", "n_positions", "max_length", "max_sequence_length", "model_max_length")),
	Set("embedding_length", Opt("hidden_size", "n_embd", "dim")),
	Set("feed_forward_length", Opt("prefix_dense_intermediate_size", "dense_intermediate_size", "intermediate_size", "n_inner", "hidden_dim")),
	Set("attention.head_count", Opt("num_attention_heads", "n_head", "n_heads")),
	Set("attention.head_count_kv", Opt("num_key_value_heads", "n_kv_heads")),
}.Also(When(isFalse("is_causal"), Set("attention.causal", false)), RopeKeys).Then(
	Set("attention.layer_norm_rms_epsilon", Opt("rms_norm_eps", "norm_eps")),
	Set("attention.layer_norm_epsilon", Opt("layer_norm_eps", "layer_norm_epsilon", "norm_epsilon")),
	Set("expert_count", Opt("num_local_experts", "num_experts", "n_routed_experts")),
	Set("expert_used_count", Opt("num_experts_per_tok", "num_experts_per_token", "top_k_experts")),
	Set("expert_group_count", Opt("n_group")),
	Set("expert_group_used_count", Opt("topk_group")),
	Set("expert_gating_func", gatingFunc),
	Set("attention.key_length", Opt("head_dim")),
	Set("attention.value_length", Opt("head_dim")),
	FileTypeKey,
)

func isFalse(key string) Expr {
	return Fn(key+" is false", func(e *Env) (any, error) {
		v, ok := e.Config[key].(bool)
		return ok && !v, nil
	})
}
