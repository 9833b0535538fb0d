package vocab

// architectureKinds says how the reference reads the vocabulary of each architecture of the cases.
// Source: set_vocab of the registered classes in conversion/*.py.
var architectureKinds = map[string]Kind{}

func init() {
	for kind, list := range map[Kind][]string{
		Arctic:      {"ArcticForCausalLM"},
		BERT:        {"BertForMaskedLM", "BertForSequenceClassification", "BertModel", "CamembertModel", "DistilBertForMaskedLM", "DistilBertForSequenceClassification", "DistilBertModel", "NeoBERT", "NeoBERTForSequenceClassification", "NeoBERTLMHead", "NomicBertModel"},
		ChatGLM:     {"ChatGLMForConditionalGeneration", "ChatGLMModel", "GlmForCausalLM"},
		ChatML:      {"Qwen3OmniMoeForConditionalGeneration"},
		QwenASR:     {"Qwen3ASRForConditionalGeneration"},
		Deci:        {"DeciLMForCausalLM"},
		DeepSeekV32: {"DeepseekV32ForCausalLM"},
		Dots3:       {"Dots3NoteForCausalLM", "Dots3NoteForConditionalGeneration", "Dots3NoteTextForCausalLM"},
		Dream:       {"DreamModel"},
		EuroBERT:    {"EuroBertModel", "JinaEmbeddingsV5Model"},
		GLMEdge:     {"Glm4ForCausalLM", "Glm4vForConditionalGeneration", "GlmOcrForConditionalGeneration", "GlmasrModel"},
		GLM:         {"Glm4MoeForCausalLM", "Glm4MoeLiteForCausalLM", "Glm4vMoeForConditionalGeneration", "GlmMoeDsaForCausalLM"},
		GPT2:        {"BailingMoeForCausalLM", "BailingMoeV2ForCausalLM", "BailingMoeV3ForCausalLM", "BloomForCausalLM", "BloomModel", "ChameleonForCausalLM", "ChameleonForConditionalGeneration", "CodeShellForCausalLM", "Cohere2ForCausalLM", "Cohere2MoeForCausalLM", "CohereForCausalLM", "DbrxForCausalLM", "DeepseekV4ForCausalLM", "Dots1ForCausalLM", "Exaone4ForCausalLM", "Exaone4_5_ForConditionalGeneration", "ExaoneForCausalLM", "ExaoneMoEForCausalLM", "ExaoneMoeForCausalLM", "FalconForCausalLM", "FalconH1ForCausalLM", "GPT2LMHeadModel", "GPTBigCodeForCausalLM", "GPTNeoXForCausalLM", "GptOssForCausalLM", "GroveMoeForCausalLM", "HYV3ForCausalLM", "HrmTextForCausalLM", "JAISLMHeadModel", "Jais2ForCausalLM", "LFM2ForCausalLM", "LLaDAMoEModel", "LLaDAMoEModelLM", "Lfm2BidirectionalModel", "Lfm2ForCausalLM", "Lfm2Model", "Lfm2MoeForCausalLM", "Llama4ForCausalLM", "Llama4ForConditionalGeneration", "MaincoderForCausalLM", "MapleForCausalLM", "MellumForCausalLM", "MiMoV2FlashForCausalLM", "MiMoV2ForCausalLM", "MiniCPMV4_6ForConditionalGeneration", "MiniMaxM2ForCausalLM", "MiniMaxM3SparseForCausalLM", "MiniMaxM3SparseForConditionalGeneration", "OLMoForCausalLM", "Olmo2ForCausalLM", "Olmo3ForCausalLM", "OlmoForCausalLM", "OlmoeForCausalLM", "PLMForCausalLM", "PhiForCausalLM", "Qwen2MoeForCausalLM", "Qwen3MoeForCausalLM", "Qwen3NextForCausalLM", "Qwen3VLMoeForConditionalGeneration", "Qwen3_5ForCausalLM", "Qwen3_5ForConditionalGeneration", "Qwen3_5MoeForCausalLM", "Qwen3_5MoeForConditionalGeneration", "Qwen4ExpForCausalLM", "Qwen4ExpForConditionalGeneration", "RND1", "RWForCausalLM", "RuGPT3XLForCausalLM", "SarvamMoEForCausalLM", "SeedOssForCausalLM", "SmallThinkerForCausalLM", "Spark2_5ForCausalLM", "Starcoder2ForCausalLM", "Step3p5ForCausalLM", "Step3p7ForConditionalGeneration", "TalkieForCausalLM", "UltravoxModel", "modeling_grove_moe.GroveMoeForCausalLM", "modeling_sarvam_moe.SarvamMoEForCausalLM"},
		GPT2OrSPM:   {"FalconMambaForCausalLM", "MambaForCausalLM", "MambaLMHeadModel"},
		Gemma:       {"GemmaForCausalLM"},
		Gemma2:      {"Gemma2ForCausalLM"},
		Gemma3:      {"Gemma3ForCausalLM", "Gemma3ForConditionalGeneration", "Gemma3TextModel", "Gemma3nForCausalLM", "Gemma3nForConditionalGeneration"},
		Gemma4:      {"Gemma4AssistantForCausalLM", "Gemma4ForCausalLM", "Gemma4ForConditionalGeneration", "Gemma4UnifiedAssistantForCausalLM", "Gemma4UnifiedForConditionalGeneration"},
		Hunyuan:     {"HunYuanDenseV1ForCausalLM", "HunYuanVLForConditionalGeneration"},
		HunyuanMoE:  {"HunYuanMoEV1ForCausalLM"},
		InternLM2:   {"InternLM2ForCausalLM"},
		InternLM3:   {"InternLM3ForCausalLM"},
		Jamba:       {"JambaForCausalLM"},
		JinaBERT:    {"JinaBertForMaskedLM", "JinaBertModel"},
		Kimi:        {"DeepseekOCRForCausalLM", "DeepseekV2ForCausalLM", "DeepseekV3ForCausalLM", "HYV4ForCausalLM", "KimiK25ForConditionalGeneration", "KimiVLForConditionalGeneration", "UnlimitedOCRForCausalLM", "YoutuForCausalLM", "YoutuVLForConditionalGeneration"},
		KimiK3:      {"KimiK3ForConditionalGeneration"},
		KimiLinear:  {"KimiLinearForCausalLM", "KimiLinearModel"},
		LLaDA:       {"LLaDAModelLM"},
		Laguna:      {"LagunaForCausalLM"},
		Llama:       {"AfmoeForCausalLM", "ApertusForCausalLM", "ArceeForCausalLM", "CogVLMForCausalLM", "Eagle3DraftModel", "Eagle3LlamaForCausalLM", "Eagle3Speculator", "GraniteForCausalLM", "GraniteMoeForCausalLM", "GraniteMoeSWAForCausalLM", "GraniteMoeSharedForCausalLM", "GraniteSWAForCausalLM", "GraniteSwitchForCausalLM", "IQuestCoderForCausalLM", "JanusForConditionalGeneration", "LLaMAForCausalLM", "LlamaBidirectionalModel", "LlamaForCausalLM", "LlamaForCausalLMEagle3", "LlamaModel", "LlavaForConditionalGeneration", "Ministral3ForCausalLM", "Mistral3ForConditionalGeneration", "MistralForCausalLM", "MixtralForCausalLM", "NanbeigeForCausalLM", "Sarashina2VisionForCausalLM", "SmolLM3ForCausalLM", "VLlama3ForCausalLM", "VoxtralForConditionalGeneration"},
		MPT:         {"MPTForCausalLM"},
		MiniMax:     {"MiniMaxM1ForCausalLM", "MiniMaxText01ForCausalLM"},
		Minitron:    {"NemotronForCausalLM"},
		ModernBERT:  {"ModernBertForMaskedLM", "ModernBertForSequenceClassification", "ModernBertModel"},
		MuseGlimmer: {"MuseGlimmerForConditionalGeneration"},
		NemotronH:   {"NemotronHForCausalLM", "NemotronHPuzzleForCausalLM"},
		None:        {"Lfm25AudioTokenizer", "WavTokenizerDec"},
		OpenELM:     {"OpenELMForCausalLM"},
		Phi3:        {"Phi3ForCausalLM", "Phi4ForCausalLMV", "PhiMoEForCausalLM"},
		Plamo:       {"PLaMo2ForCausalLM", "Plamo2ForCausalLM"},
		Plamo3:      {"PLaMo3ForCausalLM", "Plamo3ForCausalLM"},
		PocketTTS:   {"PocketTTSModel"},
		QwenRanks:   {"QWenLMHeadModel"},
		QwenTTS:     {"Qwen3TTSForConditionalGeneration"},
		RWKV:        {"RWKV7ForCausalLM", "Rwkv6ForCausalLM", "Rwkv7ForCausalLM"},
		Refact:      {"GPTRefactForCausalLM"},
		RoBERTa:     {"RobertaForSequenceClassification", "RobertaModel"},
		SPM:         {"BaiChuanForCausalLM", "BaichuanForCausalLM", "BitNetForCausalLM", "BitnetForCausalLM", "MiniCPM3ForCausalLM", "MiniCPMForCausalLM", "OrionForCausalLM", "PlamoForCausalLM"},
		SPMOrGPT2:   {"AudioFlamingo3ForConditionalGeneration", "DeepseekForCausalLM", "DotsOCRForCausalLM", "Grok1ForCausalLM", "GrokForCausalLM", "KORMoForCausalLM", "Qwen2AudioForConditionalGeneration", "Qwen2ForCausalLM", "Qwen2Model", "Qwen2VLForConditionalGeneration", "Qwen2VLModel", "Qwen2_5OmniModel", "Qwen2_5_VLForConditionalGeneration", "Qwen3ForCausalLM", "Qwen3Model", "Qwen3VLForConditionalGeneration", "RWKV6Qwen2ForCausalLM", "RwkvHybridForCausalLM", "StepVLForConditionalGeneration"},
		SPMOrJSON:   {"BambaForCausalLM", "GraniteMoeHybridForCausalLM", "Mamba2ForCausalLM"},
		Solar:       {"SolarOpenForCausalLM"},
		SpacePrefix: {"Ernie4_5ForCausalLM", "Ernie4_5_ForCausalLM", "Ernie4_5_MoeForCausalLM", "PaddleOCRVLForConditionalGeneration", "PanguEmbeddedForCausalLM"},
		StableLM:    {"LlavaStableLMEpochForCausalLM", "StableLMEpochForCausalLM", "StableLmForCausalLM"},
		T5:          {"MT5ForConditionalGeneration", "T5EncoderModel", "T5ForConditionalGeneration", "T5WithLMHeadModel", "UMT5ForConditionalGeneration", "UMT5Model"},
		XLMRoberta:  {"XLMRobertaForSequenceClassification", "XLMRobertaModel"},
		XVerse:      {"XverseForCausalLM"},
	} {
		for _, a := range list {
			architectureKinds[a] = kind
		}
	}
}

// presetKeys are tokenizer entries that an architecture sets beside its vocabulary, with its parameters: they take part
// in the comparison of whole files, not here.
var presetKeys = map[string][]string{
	"ChatGLMModel":                          {keyAddBOS},
	"GlmForCausalLM":                        {keyAddBOS},
	"ChatGLMForConditionalGeneration":       {keyAddBOS},
	"PhiForCausalLM":                        {keyAddBOS},
	"DreamModel":                            {"tokenizer.ggml.mask_token_id"},
	"LLaDAMoEModelLM":                       {"tokenizer.ggml.mask_token_id"},
	"RND1":                                  {"tokenizer.ggml.mask_token_id"},
	"DeepseekOCRForCausalLM":                {keyTemplate},
	"DeepseekV4ForCausalLM":                 {keyTemplate, "tokenizer.ggml.mask_token_id"},
	"MiniMaxM1ForCausalLM":                  {"tokenizer.ggml.suppress_tokens"},
	"Gemma4UnifiedForConditionalGeneration": {"tokenizer.ggml.suppress_tokens"},
}
