package vocab

// Kind names the way in which the reference reads a vocabulary.
type Kind string

// The kinds. Families that try one file and then another have a kind of their own, so that an architecture names one.
const (
	None        Kind = "none"         // no vocabulary: the model's ids are not text
	GPT2        Kind = "gpt2"         // byte-level BPE, through AutoTokenizer
	SPM         Kind = "spm"          // tokenizer.model, SentencePiece BPE
	SPMOrGPT2   Kind = "spm-gpt2"     // SPM, or GPT2 without tokenizer.model
	GPT2OrSPM   Kind = "gpt2-spm"     // GPT2 where tokenizer.json is there, else SPM (Mamba)
	SPMOrJSON   Kind = "spm-json"     // SPM where tokenizer.model is there, else GPT2 (Mamba 2)
	OpenELM     Kind = "openelm"      // SPM or LlamaHF
	MPT         Kind = "mpt"          // GPT2, or SPM with fixed special ids (SEA-LION)
	LlamaHF     Kind = "llama-hf"     // tokenizer.json of a SentencePiece model: scores are lost
	Llama       Kind = "llama"        // tekken.json, SPM, LlamaHF or GPT2, with CodeLlama's and Granite's peculiarities
	Jamba       Kind = "jamba"        // SPM or LlamaHF
	SpacePrefix Kind = "spm-prefix"   // SPM, add_space_prefix as tokenizer_config.json says (Ernie 4.5, Pangu)
	Gemma       Kind = "gemma"        // SPM with CodeGemma's end of turn
	Gemma2      Kind = "gemma2"       // SPM without the leading blank
	Gemma3      Kind = "gemma3"       // Gemma2, or GPT2 without tokenizer.model
	Gemma4      Kind = "gemma4"       // tokenizer.json with merges, under a model name of its own
	Minitron    Kind = "minitron"     // SPM with fixed pad and unk
	Phi3        Kind = "phi3"         // SPM with tokenizer.json's added tokens, or GPT2 (Phi-4)
	InternLM2   Kind = "internlm2"    // SPM with appended added tokens and the chat's end of turn
	InternLM3   Kind = "internlm3"    // SPM with the chat's end of turn
	Arctic      Kind = "arctic"       // SPM with redefined pieces
	XVerse      Kind = "xverse"       // tokenizer.json as an SPM vocabulary without scores
	QwenTTS     Kind = "qwen-tts"     // SPMOrGPT2 with Input.Codec behind it and no chat template
	PocketTTS   Kind = "pocket-tts"   // unigram tokenizer.model, the last rows named by Input.Codec
	ChatGLM3    Kind = "chatglm3"     // SPM with the role tokens of the published class
	T5          Kind = "t5"           // tokenizer.model or spiece.model, unigram or BPE
	XLMRoberta  Kind = "xlm-roberta"  // sentencepiece.bpe.model or tokenizer.json, unigram, realigned
	NomicMoE    Kind = "nomic-moe"    // XLMRoberta with the mask that its model file lacks
	BERT        Kind = "bert"         // WordPiece with phantom blanks
	RoBERTa     Kind = "roberta"      // GPT2 with token types; BERT without tokenizer.json
	JinaBERT    Kind = "jina-bert"    // by tokenizer_class: BERT, GPT2 or whitespace
	ModernBERT  Kind = "modern-bert"  // GPT2 framed by bos, eos and sep
	EuroBERT    Kind = "eurobert"     // GPT2 without bos
	RWKV        Kind = "rwkv"         // rwkv_vocab_v20230424.txt
	Mistral     Kind = "mistral"      // tekken.json or tokenizer.model*, as mistral-common reads them
	QwenRanks   Kind = "qwen"         // qwen.tiktoken
	StableLM    Kind = "stablelm"     // GPT2, or QwenRanks without tokenizer.json
	HunyuanMoE  Kind = "hunyuan-moe"  // hy.tiktoken
	Hunyuan     Kind = "hunyuan"      // GPT2 or hy.tiktoken, special ids from the configuration
	Kimi        Kind = "kimi"         // GPT2, or tiktoken.model
	KimiLinear  Kind = "kimi-linear"  // Kimi, eos as the tokenizer says
	KimiK3      Kind = "kimi-k3"      // KimiLinear, eos as the configuration says
	Plamo       Kind = "plamo"        // tokenizer.jsonl
	Plamo3      Kind = "plamo3"       // Plamo with a chat template
	Deci        Kind = "deci"         // GPT2 at 128256 tokens, else LlamaHF
	GLM         Kind = "glm"          // GPT2 with [gMASK], <|user|>, <|observation|>
	GLMEdge     Kind = "glm-edge"     // GPT2 framed by <|endoftext|>
	ChatGLM     Kind = "chatglm"      // GPT2 at padded_vocab_size with <|endoftext|> and <|user|>
	Solar       Kind = "solar-open"   // GPT2 with <|startoftext|> and <|endoftext|>
	Dots3       Kind = "dots3"        // GPT2 with <|endofassistant|>
	InternS1    Kind = "interns1"     // GPT2 with the fixed bos 151643
	Dream       Kind = "dream"        // SPM, or GPT2 with added tokens as spelled
	LLaDA       Kind = "llada"        // GPT2 with added tokens as spelled and a bos
	Laguna      Kind = "laguna"       // GPT2 with the end of the assistant's turn
	MiniMax     Kind = "minimax"      // GPT2, chat template from the .jinja file
	Refact      Kind = "refact"       // GPT2 read twice for end of turn
	NemotronH   Kind = "nemotron-h"   // GPT2 with a bos
	ChatML      Kind = "chatml"       // SPMOrGPT2 that begins and ends with <|im_end|> (Qwen 3 Omni and ASR)
	MuseGlimmer Kind = "muse-glimmer" // GPT2 with <|eot|>
	QwenASR     Kind = "qwen-asr"     // ChatML, for which the reference has a template of its own
	DeepSeekV32 Kind = "deepseek-v32" // GPT2, refused unless the tokenizer adds a bos
)
