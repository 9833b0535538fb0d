package config

// stepsOf are the rules of a configuration class, in order. What is not listed has the base class only.
// Source: the classes' constructors in transformers 4.57.6, models/*/configuration_*.py.
// Where base stands matters: before it, a key of the file under another name (attribute_map) is not yet seen.
func stepsOf(class string) []step {
	for _, family := range []func(string) []step{plainSteps, windowSteps, hybridSteps, mixedSteps, oddSteps} {
		if s := family(class); s != nil {
			return s
		}
	}
	return []step{base}
}

// plainSteps: decoders that fill in heads, the size of a head and the type of rope.
func plainSteps(class string) []step {
	switch class {
	// rope_scaling goes unchecked here, and head_dim has no default: Mistral's is in the file or left to the reader.
	case "BitNetConfig", "HunYuanDenseV1Config", "HunYuanMoEV1Config", "MistralConfig", "MixtralConfig":
		return []step{kvHeads, base}
	// The usual decoder. A rope_scaling that lacks a key makes the whole file raw.
	case "LlamaConfig", "Ernie4_5Config", "SeedOssConfig":
		return []step{kvHeads, headDim, ropeType, rope(), base}
	// The same rules after the base class: only a failure in dtype or labels would come first.
	case "ArceeConfig":
		return []step{base, kvHeads, headDim, ropeType, rope()}
	case "ApertusConfig", "FlexOlmoConfig":
		return []step{base, kvHeads, ropeType, rope()}
	// No head_dim: the writer divides hidden_size by the heads.
	case "OlmoeConfig", "PhiConfig":
		return []step{kvHeads, ropeType, rope(), base}
	case "Glm4MoeConfig", "PersimmonConfig", "StableLmConfig", "Starcoder2Config":
		return []step{ropeType, rope(), base}
	// No ropeType: {"type": "linear", ...} lacks rope_type here and makes the file raw. Granite and Qwen3-VL share that.
	case "CohereConfig":
		return []step{kvHeads, rope(), base}
	// num_key_value_heads stays null when it is.
	case "NemotronConfig":
		return []step{headDim, base}
	// head_dim is a key like any other here: the reference's writer ignores it.
	case "GraniteConfig":
		return []step{kvHeads, base, rope()}
	case "GraniteMoeConfig", "GraniteMoeSharedConfig":
		return []step{kvHeads, preset("position_embedding_type", "rope"), base, rope()}
	// The first OLMo models keep a stricter check from before rope types.
	case "OlmoConfig":
		return []step{kvHeads, ropeTwo, base}
	case "Olmo2Config":
		return []step{base, kvHeads, ropeTwo}
	// Phi 3 knows no other rope than longrope; a fourth key in rope_scaling is refused.
	case "Phi3Config":
		return []step{kvHeads, phi3Rope, base}
	case "PhimoeConfig":
		return []step{kvHeads, phimoeRope, rope(), base}
	// head_dim is that of the rotary part, whatever the file says; V3 keeps the file's.
	case "DeepseekV2Config":
		return []step{base, kvHeads, copyOf("head_dim", "qk_rope_head_dim"), ropeType, rope()}
	case "DeepseekV3Config":
		return []step{deepseekDims, kvHeads, ropeType, deepseekFloats, rope(), base}
	// attribute_map gives the usual names of the experts to moe_num_experts and moe_k.
	case "Ernie4_5_MoeConfig":
		return []step{ropeType, rope(), lastMoeLayer, base}
	// No layer_types: the window is dropped unless it is switched on, and that is all.
	case "Qwen2MoeConfig", "Qwen3MoeConfig":
		return []step{windowIfUsed, ropeType, rope(), noList("mlp_only_layers"), base}
	case "Qwen3OmniMoeTalkerTextConfig", "Qwen3OmniMoeTextConfig":
		return []step{base, ropeType, rope(), noList("mlp_only_layers")}
	// Multimodal rope: its sections do not count as keys of rope_scaling.
	case "Glm4vTextConfig":
		return []step{kvHeads, ropeType, rope("mrope_section"), base}
	case "Glm4vMoeTextConfig":
		return []step{base, ropeType, rope("mrope_section")}
	case "Qwen3VLTextConfig":
		return []step{kvHeads, rope("mrope_interleaved", "mrope_section"), base}
	case "Qwen3VLMoeTextConfig":
		return []step{kvHeads, headDimOr, rope("mrope_interleaved", "mrope_section"), noList("mlp_only_layers"), base}
	// The older names win over partial_rotary_factor and rope_theta, by their defaults too.
	case "GPTNeoXConfig":
		return []step{base, copyOf("partial_rotary_factor", "rotary_pct"), copyOf("rope_theta", "rotary_emb_base"), ropeType, rope(),
			divides("num_attention_heads", "hidden_size")}
	}
	return nil
}

// windowSteps: decoders that say for every layer what kind it is.
func windowSteps(class string) []step {
	switch class {
	// Layers are windowed from max_window_layers on, and all full while use_sliding_window is off.
	case "Qwen2Config", "Qwen3Config":
		return []step{windowIfUsed, kvHeads, ropeType, rope(), layerTypes(windowed), base}
	// mrope is renamed to default inside the root's rope_scaling when the text part is made from the root.
	case "Qwen2VLTextConfig", "Qwen2_5_VLTextConfig":
		return []step{windowIfUsed, kvHeads, layerTypes(windowed), mropeType, rope("mrope_section"), base}
	case "Qwen2_5OmniTalkerConfig":
		return []step{windowIfUsed, kvHeads, layerTypes(windowed), base}
	// A missing rope_scaling becomes the sections, after the check.
	case "Qwen2_5OmniTextConfig":
		return []step{base, windowIfUsed, kvHeads, ropeType, rope(), omniSections, layerTypes(windowed)}
	case "Qwen3OmniMoeTalkerCodePredictorConfig":
		return []step{base, kvHeads, ropeType, rope(), layerTypes(windowed)}
	case "Dots1Config":
		return []step{kvHeads, layerTypes(windowed), base}
	case "Gemma2Config", "VaultGemmaConfig":
		return []step{base, layerTypes(fullEvery(2))}
	// The window of a bidirectional embedding model is stored whole and used by half.
	case "Gemma3TextConfig":
		return []step{base, halfWindow, rope(), layerTypes(windowPattern(6))}
	// Sizes and sparsity become lists of one entry a layer.
	case "Gemma3nTextConfig":
		return []step{base, gemma3nSizes, rope(), layerTypes(fullEvery(5)), gemma3nSparsity}
	// sliding_window_pattern survives under a private name as well.
	case "Cohere2Config":
		return []step{kvHeads, presetHeadDim, rope(), base, layerTypes(windowPattern(4))}
	// The pattern may be a text (LLLG) as long as layer_types are given. A cache implementation would be set for layers
	// of kind sliding_window, which no checked list can hold.
	case "Exaone4Config":
		return []step{layerTypes(exaoneLayers), base}
	case "GptOssConfig":
		return []step{kvHeads, headDim, layerTypes(fullEvery(2)), preset("attention_bias", true), ropeType, rope(), base}
	// The number of layers is not compared with layer_types.
	case "Olmo3Config":
		return []step{base, kvHeads, rope(), olmo3Layers}
	// Reached through model_type mistral with layer_types; any kind of layer passes.
	case "MinistralConfig":
		return []step{base, kvHeads, ministralLayers}
	case "SmolLM3Config":
		return []step{base, kvHeads, smolRopeLayers, layerTypes(smolLayers), ropeType, rope()}
	// attention_bias is off whatever the file says; an empty no_rope_layers counts as missing.
	case "Llama4TextConfig":
		return []step{base, set("attention_bias", false), kvHeads, headDim, llama4Layers}
	// Odd layers (from 1) are linear attention.
	case "MiniMaxConfig":
		return []step{base, kvHeads, layerTypes(miniMaxLayers)}
	case "Qwen3NextConfig":
		return []step{base, rope(), layerTypes(qwenNextLayers)}
	}
	return nil
}

// hybridSteps: state-space models, alone and mixed with attention.
func hybridSteps(class string) []step {
	switch class {
	// The inner width must be heads times head size, or the file is raw.
	case "BambaConfig":
		return []step{preset("attention_bias", false), preset("mlp_bias", false), kvHeads, preset("rope_theta", 10000.0),
			preset("rope_scaling", nil), preset("partial_rotary_factor", 0.5), mambaHeads, base}
	// mamba_d_ssm replaces expand times hidden_size as the inner width.
	case "FalconH1Config":
		return []step{preset("attention_bias", false), preset("mlp_bias", false), kvHeads, mambaHeads, falconMultipliers, base}
	// layers_block_type is another name of layer_types, seen only after the check of its kinds.
	case "GraniteMoeHybridConfig":
		return []step{kvHeads, graniteLayers, mambaHeads, base, graniteRope}
	case "JambaConfig":
		return []step{kvHeads, below("attn_layer_offset", "attn_layer_period"), below("expert_layer_offset", "expert_layer_period"),
			sixteenth("mamba_dt_rank"), base}
	case "MambaConfig":
		return []step{mambaWidth, sixteenth("time_step_rank"), base}
	case "FalconMambaConfig":
		return []step{base, falconMambaWidth, sixteenth("time_step_rank")}
	// A file with neither num_heads nor head_dim fits the defaults only, so most are raw.
	case "Mamba2Config":
		return []step{mamba2Heads, sixteenth("time_step_rank"), base}
	// Three keys of the first release win over their later names.
	case "Lfm2Config":
		return []step{given("rope_theta", "theta"), given("intermediate_size", "block_ff_dim"), lfm2Layers,
			given("tie_word_embeddings", "tie_embedding"), base}
	}
	return nil
}

// mixedSteps: models of several parts, and the parts that do more than hold values.
func mixedSteps(class string) []step {
	switch class {
	case "ChameleonConfig":
		return []step{ropeTwo, sub("vq_config", "ChameleonVQVAEConfig"), chameleonImage, base}
	case "Gemma3Config":
		return []step{sub("text_config", "Gemma3TextConfig"), sub("vision_config", "SiglipVisionConfig"), base}
	// Parts by their own model_type: one that transformers does not know makes the whole file raw.
	case "ShieldGemma2Config":
		return []step{subByType("vision_config", "siglip_vision_model"), subByType("text_config", "gemma3_text"), base}
	case "Gemma3nConfig":
		return []step{base, sub("text_config", "Gemma3nTextConfig"), sub("vision_config", "Gemma3nVisionConfig"), sub("audio_config", "Gemma3nAudioConfig")}
	// A configuration of timm, which lists labels.
	case "Gemma3nVisionConfig":
		return []step{base, labelsAsList}
	// Without text_config the text part is made of the root's keys.
	case "Glm4vConfig":
		return []step{sub("vision_config", "Glm4vVisionConfig"), subOrRoot("text_config", "Glm4vTextConfig"), base}
	case "Glm4vMoeConfig":
		return []step{base, sub("vision_config", "Glm4vMoeVisionConfig"), subOrRoot("text_config", "Glm4vMoeTextConfig")}
	case "GraniteSpeechConfig":
		return []step{subByType("text_config", "granite"), subByType("projector_config", "blip_2_qformer"),
			sub("encoder_config", "GraniteSpeechEncoderConfig"), base}
	// A missing text_config takes the root's pad_token_id.
	case "Idefics3Config":
		return []step{sub("vision_config", "Idefics3VisionConfig"), subByType("text_config", "llama"), base}
	case "SmolVLMConfig":
		return []step{sub("vision_config", "SmolVLMVisionConfig"), subByType("text_config", "llama"), base}
	case "InternVLConfig":
		return []step{sub("vision_config", "InternVLVisionConfig"), subByType("text_config", "qwen2"), base}
	case "InternVLVisionConfig":
		return []step{base, pair("image_size"), pair("patch_size")}
	// The image tokenizer learns its grid from the vision part.
	case "JanusConfig":
		return []step{subByType("text_config", "llama"), sub("vision_config", "JanusVisionConfig"), sub("vq_config", "JanusVQVAEConfig"), janusPatches, base}
	case "Lfm2VlConfig":
		return []step{subByType("vision_config", "siglip2_vision_model"), subByType("text_config", "lfm2"), base}
	case "Llama4Config":
		return []step{sub("vision_config", "Llama4VisionConfig"), sub("text_config", "Llama4TextConfig"), base}
	case "Llama4VisionConfig":
		return []step{llama4Feature, base}
	case "LlavaConfig":
		return []step{oneOf("vision_feature_select_strategy", "default", "full"), subByType("vision_config", "clip_vision_model"),
			subByType("text_config", "llama"), base}
	// Mistral Small 3.1: a missing part is that of the 24B model.
	case "Mistral3Config":
		return []step{subByType("vision_config", "pixtral"), subByType("text_config", "mistral"), base}
	// head_dim of the file is overwritten.
	case "PixtralVisionConfig":
		return []step{base, setHeadDim}
	case "Qwen2AudioConfig":
		return []step{subByType("audio_config", "qwen2_audio_encoder"), subByType("text_config", "qwen2"), base}
	// num_hidden_layers of the file is overwritten.
	case "Qwen2AudioEncoderConfig", "Qwen2_5OmniAudioEncoderConfig", "Qwen3OmniMoeAudioEncoderConfig":
		return []step{base, copyOf("num_hidden_layers", "encoder_layers")}
	case "Qwen2VLConfig":
		return []step{base, sub("vision_config", "Qwen2VLVisionConfig"), subOrRoot("text_config", "Qwen2VLTextConfig")}
	case "Qwen2_5_VLConfig":
		return []step{base, sub("vision_config", "Qwen2_5_VLVisionConfig"), subOrRoot("text_config", "Qwen2_5_VLTextConfig")}
	case "Qwen3VLConfig":
		return []step{sub("vision_config", "Qwen3VLVisionConfig"), sub("text_config", "Qwen3VLTextConfig"), base}
	case "Qwen3VLMoeConfig":
		return []step{sub("vision_config", "Qwen3VLMoeVisionConfig"), sub("text_config", "Qwen3VLMoeTextConfig"), base}
	// The text part has defaults of its own under llama's.
	case "VoxtralConfig":
		return []step{subByType("audio_config", "voxtral_encoder"), subByType("text_config", "llama"), voxtralSizes, base}
	// Its Whisper names are read and forgotten.
	case "VoxtralEncoderConfig":
		return []step{base, set("dropout", 0.0), set("layerdrop", 0.0), set("activation_dropout", 0.0)}
	case "WhisperConfig":
		return []step{presetCopy("num_hidden_layers", "encoder_layers"), base}
	}
	return omniSteps(class)
}

// omniSteps: the Qwen Omni models, whose parts have parts.
func omniSteps(class string) []step {
	switch class {
	case "Qwen2_5OmniConfig":
		return []step{sub("thinker_config", "Qwen2_5OmniThinkerConfig"), sub("talker_config", "Qwen2_5OmniTalkerConfig"),
			sub("token2wav_config", "Qwen2_5OmniToken2WavConfig"), base}
	case "Qwen2_5OmniThinkerConfig":
		return []step{sub("vision_config", "Qwen2_5OmniVisionEncoderConfig"), sub("audio_config", "Qwen2_5OmniAudioEncoderConfig"),
			sub("text_config", "Qwen2_5OmniTextConfig"), base}
	case "Qwen2_5OmniToken2WavConfig":
		return []step{sub("dit_config", "Qwen2_5OmniDiTConfig"), sub("bigvgan_config", "Qwen2_5OmniBigVGANConfig"), base}
	case "Qwen3OmniMoeConfig":
		return []step{base, sub("thinker_config", "Qwen3OmniMoeThinkerConfig"), sub("talker_config", "Qwen3OmniMoeTalkerConfig"),
			sub("code2wav_config", "Qwen3OmniMoeCode2WavConfig")}
	case "Qwen3OmniMoeTalkerConfig":
		return []step{base, sub("code_predictor_config", "Qwen3OmniMoeTalkerCodePredictorConfig"), sub("text_config", "Qwen3OmniMoeTalkerTextConfig")}
	case "Qwen3OmniMoeThinkerConfig":
		return []step{base, sub("vision_config", "Qwen3OmniMoeVisionEncoderConfig"), sub("audio_config", "Qwen3OmniMoeAudioEncoderConfig"),
			sub("text_config", "Qwen3OmniMoeTextConfig")}
	}
	return nil
}

// oddSteps: older models with names and rules of their own.
func oddSteps(class string) []step {
	switch class {
	// n_embed is from before hidden_size, and dropped.
	case "BloomConfig":
		return []step{given("hidden_size", "n_embed"), base}
	case "FalconConfig":
		return []step{falconFeedForward, given("hidden_size", "n_embed"), orCopy("num_kv_heads", "num_attention_heads"), base}
	// Tied embeddings are refused; parts with unknown keys too.
	case "DbrxConfig":
		return []step{sub("attn_config", "DbrxAttentionConfig"), sub("ffn_config", "DbrxFFNConfig"), dbrxRoot, base}
	case "DbrxAttentionConfig":
		return []step{base, only("attn_pdrop", "clip_qkv", "kv_n_heads", "rope_theta")}
	case "DbrxFFNConfig":
		return []step{only("ffn_act_fn", "ffn_hidden_size", "moe_num_experts", "moe_top_k", "moe_jitter_eps", "moe_loss_weight",
			"moe_normalize_expert_weights"), baseAlone, dbrxActivation}
	case "MptConfig":
		return []step{sub("attn_config", "MptAttentionConfig"), base}
	// Keys beside the known ones are lost.
	case "MptAttentionConfig":
		return []step{baseAlone, oneOf("attn_type", "multihead_attention", "multiquery_attention")}
	case "GPTBigCodeConfig":
		return []step{bigCodeHeads, base}
	case "ModernBertConfig":
		return []step{base, oneOf("classifier_pooling", "cls", "mean")}
	case "OPTConfig":
		return []step{base, orCopy("word_embed_proj_dim", "hidden_size")}
	// feed_forward_proj says activation and gate in one text.
	case "T5Config", "MT5Config", "UMT5Config":
		return []step{orCopy("num_decoder_layers", "num_layers"), t5Activation, base}
	}
	return nil
}
