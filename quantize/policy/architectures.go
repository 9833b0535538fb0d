package policy

// architectures are the values of general.architecture that llama.cpp v0.5.0 loads (llama-arch.cpp).
var architectures = map[string]bool{
	"afmoe": true, "apertus": true, "arcee": true, "arctic": true, "arwkv7": true, "baichuan": true, "bailingmoe": true,
	"bailingmoe2": true, "bailingmoe3": true, "bert": true, "bitnet": true, "bloom": true, "chameleon": true, "chatglm": true,
	"clip": true, "codeshell": true, "cogvlm": true, "cohere2": true, "cohere2moe": true, "command-r": true, "dbrx": true,
	"deci": true, "deepseek": true, "deepseek2": true, "deepseek2-ocr": true, "deepseek32": true, "deepseek4": true,
	"dflash": true, "dots1": true, "dots3note": true, "dream": true, "eagle3": true, "ernie4_5": true, "ernie4_5-moe": true,
	"eurobert": true, "exaone": true, "exaone-moe": true, "exaone4": true, "falcon": true, "falcon-h1": true, "gemma": true,
	"gemma-embedding": true, "gemma2": true, "gemma3": true, "gemma3n": true, "gemma4": true, "gemma4-assistant": true,
	"glm-dsa": true, "glm4": true, "glm4moe": true, "gpt-oss": true, "gpt2": true, "gptj": true, "gptneox": true,
	"granite": true, "granite_swa": true, "granitehybrid": true, "granitemoe": true, "graniteswitch": true, "grok": true,
	"grovemoe": true, "hrm_text": true, "hunyuan-dense": true, "hunyuan-moe": true, "hunyuan_vl": true, "hy_v3": true,
	"hy_v4": true, "internlm2": true, "jais": true, "jais2": true, "jamba": true, "jina-bert-v2": true, "jina-bert-v3": true,
	"kimi-k3": true, "kimi-linear": true, "laguna": true, "lfm2": true, "lfm2moe": true, "llada": true, "llada-moe": true,
	"llama": true, "llama-embed": true, "llama4": true, "maincoder": true, "mamba": true, "mamba2": true, "maple": true,
	"mellum": true, "mimo2": true, "minicpm": true, "minicpm3": true, "minimax-01": true, "minimax-m2": true,
	"minimax-m3": true, "mistral3": true, "mistral4": true, "modern-bert": true, "mpt": true, "muse-glimmer": true,
	"nanbeige": true, "nemotron": true, "nemotron_h": true, "nemotron_h_moe": true, "neo-bert": true, "nomic-bert": true,
	"nomic-bert-moe": true, "olmo": true, "olmo2": true, "olmoe": true, "openelm": true, "orion": true, "paddleocr": true,
	"pangu-embedded": true, "phi2": true, "phi3": true, "phimoe": true, "plamo": true, "plamo2": true, "plamo3": true,
	"plm": true, "pockettts": true, "qwen": true, "qwen2": true, "qwen2moe": true, "qwen2vl": true, "qwen3": true,
	"qwen35": true, "qwen35moe": true, "qwen3moe": true, "qwen3next": true, "qwen3tts": true, "qwen3vl": true,
	"qwen3vlmoe": true, "qwen4exp": true, "refact": true, "rnd1": true, "rwkv6": true, "rwkv6qwen2": true, "rwkv7": true,
	"seed_oss": true, "smallthinker": true, "smollm3": true, "spark2_5": true, "stablelm": true, "starcoder": true,
	"starcoder2": true, "step35": true, "t5": true, "t5encoder": true, "talkie": true, "wavtokenizer-dec": true,
	"xverse": true,
}
