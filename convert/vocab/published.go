package vocab

// The expressions of the published tokenizers, under the name that first has them.
const (
	splitBailingmoe = `'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`
	splitDeepseekV3 = `\p{N}{1,3}`
	splitExaoneMoe  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+`
	splitFalconH1   = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	splitGlm4       = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	splitGpt4o      = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	splitJais2      = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}`
	splitLaguna     = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	splitMinicpm5   = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	splitQwen35     = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	splitUfakzeka   = `[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

// specimen is a structure that a published tokenizer of that name has, and what llama.cpp then encodes otherwise than
// Hugging Face: the number of texts of the corpus by kind of difference, the most that was measured.
type specimen struct {
	pre   string
	shape structure
	shows map[string]int
}

// published are the known structures. Source: the published tokenizer.json files; the numbers are measured with
// tokenizers 0.22.2 and llama.cpp v0.5.0 (TestShown). Of names with one structure the first is taken: the one that changes
// least beside the cuts (glm4 has no beginning of text, roberta-bpe separates).
var published = []specimen{
	{"gpt-2", structure{``, []stage{gpt2Stage}, false}, nil},
	{"starcoder", structure{``, []stage{eachDigit, gpt2Stage}, false}, nil},
	{"olmo", structure{`NFC`, []stage{gpt2Stage}, false}, map[string]int{"normalization": 15}},
	{"smaug-bpe", structure{``, []stage{isolated(splitGlm4), byteStage}, false}, nil},
	{"llama-bpe", structure{``, []stage{isolated(splitGlm4), byteStage}, true}, nil},
	{"qwen2", structure{`NFC`, []stage{isolated(splitLaguna), byteStage}, false}, map[string]int{"normalization": 15, "special": 3}},
	{"deepseek-v3", structure{``, []stage{isolated(splitDeepseekV3), isolated("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), isolated("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"), byteStage}, false}, nil},
	{"gpt-4o", structure{``, []stage{isolated(splitGpt4o), byteStage}, true}, map[string]int{"digits": 2, "english": 1, "greek-cyrillic": 1, "marks": 10, "mixed": 3, "spaces": 2}},
	{"gpt-4o", structure{``, []stage{{kind: "split", pattern: splitGpt4o, behavior: "Removed", flag: true}, byteStage}, false}, map[string]int{"marks": 10}},
	{"bailingmoe", structure{`NFC`, []stage{isolated(splitBailingmoe), byteStage}, false}, map[string]int{"normalization": 15}},
	{"bloom", structure{``, []stage{isolated(" ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"), byteStage}, false}, nil},
	{"command-r", structure{`NFC`, []stage{eachDigit, gpt2Stage}, false}, map[string]int{"normalization": 15}},
	{"deepseek-coder", structure{``, []stage{isolated("[\r\n]"), isolated(`\s?\p{L}+`), isolated(`\s?\p{P}+`), isolated("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"), eachDigit, byteStage}, false}, nil},
	{"deepseek-llm", structure{``, []stage{isolated("[\r\n]"), isolated("\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943]+"), isolated("\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"), isolated(`\s+$`), isolated("[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"), eachDigit, byteStage}, false}, map[string]int{"code": 1, "digits": 9, "long": 1, "mixed": 4, "numbers-in-words": 2}},
	{"exaone", structure{``, []stage{eachDigit, gpt2Stage}, false}, nil},
	{"exaone-moe", structure{`NFC`, []stage{isolated(splitExaoneMoe), byteStage}, false}, map[string]int{"normalization": 15}},
	{"exaone4", structure{``, []stage{gpt2Stage}, false}, nil},
	{"falcon", structure{``, []stage{{kind: "punctuation", behavior: "Contiguous"}, gpt2Stage, {kind: "digits"}, isolated(`[0-9][0-9][0-9]`)}, false}, map[string]int{"cjk": 5, "code": 2, "digits": 7, "greek-cyrillic": 2, "latin": 1, "mixed": 4, "numbers-in-words": 2, "special": 2, "unicode": 1}},
	{"falcon-h1", structure{``, []stage{{kind: "punctuation", behavior: "Contiguous"}, isolated(splitFalconH1), byteStage, isolated(`[0-9]`)}, false}, map[string]int{"code": 3, "contractions": 8, "digits": 9, "english": 3, "greek-cyrillic": 1, "long": 1, "marks": 3, "mixed": 5, "numbers-in-words": 2, "punctuation": 2, "spaces": 2, "special": 1, "web": 1}},
	{"falcon3", structure{``, []stage{{kind: "punctuation", behavior: "Contiguous"}, gpt2Stage, eachDigit}, false}, map[string]int{"cjk": 5, "code": 5, "contractions": 8, "digits": 8, "english": 3, "greek-cyrillic": 3, "latin": 1, "long": 1, "marks": 4, "mixed": 8, "numbers-in-words": 2, "punctuation": 2, "spaces": 3, "special": 4, "unicode": 1, "whitespace": 1}},
	{"gemma4", structure{"Replace{\"content\":\"\u2581\",\"pattern\":{\"String\":\" \"}}", []stage{{kind: `Split{"behavior":"MergedWithPrevious","invert":false,"pattern":{"String":" "}}`}}, false}, map[string]int{"special": 2}},
	{"glm4", structure{``, []stage{isolated(splitGlm4), byteStage}, false}, nil},
	{"hunyuan-dense", structure{``, []stage{isolated(splitDeepseekV3), isolated("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), isolated("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"), byteStage}, false}, nil},
	{"jais-2", structure{``, []stage{isolated(splitJais2), byteStage}, false}, nil},
	{"laguna", structure{``, []stage{{kind: "split", pattern: `(?:\r?\n)+(?!\r?\n)`, behavior: "MergedWithNext", flag: false}, isolated(splitLaguna), byteStage}, false}, map[string]int{"mixed": 1, "punctuation": 1, "whitespace": 3}},
	{"llama4", structure{``, []stage{isolated(splitGpt4o), byteStage}, false}, map[string]int{"marks": 3}},
	{"minicpm5", structure{``, []stage{isolated(splitDeepseekV3), isolated(splitMinicpm5), byteStage}, true}, nil},
	{"modern-bert", structure{`NFC`, []stage{gpt2Stage}, false}, map[string]int{"normalization": 15, "special": 1}},
	{"mpt", structure{`NFC`, []stage{gpt2Stage}, false}, map[string]int{"normalization": 15}},
	{"phi-2", structure{``, []stage{gpt2Stage}, false}, nil},
	{"qwen35", structure{`NFC`, []stage{isolated(splitQwen35), byteStage}, false}, map[string]int{"normalization": 15}},
	{"refact", structure{``, []stage{eachDigit, gpt2Stage}, false}, nil},
	{"roberta-bpe", structure{``, []stage{gpt2Stage}, false}, map[string]int{"special": 1}},
	{"seed-coder", structure{``, []stage{isolated("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"), byteStage}, false}, nil},
	{"smollm", structure{``, []stage{eachDigit, gpt2Stage}, false}, nil},
	{"spark2_5", structure{``, []stage{isolated(splitDeepseekV3), isolated("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), isolated("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+|[\r\n]|\\s+(?!\\S)|\\s+"), eachDigit, byteStage}, false}, nil},
	{"stablelm2", structure{``, []stage{{kind: "split", pattern: splitLaguna, behavior: "Removed", flag: true}, byteStage}, false}, nil},
	{"tekken", structure{``, []stage{isolated(splitFalconH1), byteStage}, true}, map[string]int{"marks": 8}},
	{"tiny_aya", structure{`NFC`, []stage{isolated(`\d{1,3}(?=(?:\d{3})*\b)`), isolated(splitGpt4o), byteStage}, false}, map[string]int{"digits": 1, "long": 1, "normalization": 15, "numbers-in-words": 1}},
	{"ufakzeka", structure{`NFC`, []stage{isolated(splitUfakzeka), byteStage}, false}, map[string]int{"normalization": 15}},
	{"viking", structure{``, []stage{isolated(" ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"), eachDigit, byteStage}, false}, nil},
}
