package policy

import (
	"slices"
	"strings"

	"quern/convert/gguf"
)

// The mixtures of llama-quant.cpp (llama_tensor_get_type_impl) as one table: of the rules for a tensor's role and the
// file's type, the first whose conditions all hold decides; if none does, the default type of the file stays.

// place is what conditions see of a tensor.
type place struct {
	model
	layer, layers int // its number among its kind, as the reference counts, and how many it divides by
	imatrix       bool
	matrices      int64 // more than one for stacked experts
	unfit         bool  // its rows do not divide by the default type's block
	rather8       bool  // the default type is Q8_0
}

// condition is one test of a rule; says is its text in receipts.
type condition struct {
	says  string
	holds func(p place) bool
}

var (
	wideGroups   = condition{"four or more query heads share a key head", func(p place) bool { return p.gqa >= 4 }}
	manyExperts  = condition{"four or more experts", func(p place) bool { return p.experts >= 4 }}
	eightExperts = condition{"eight experts", func(p place) bool { return p.experts == 8 }}
	falcon       = condition{"Falcon", func(p place) bool { return p.falcon() }}
	noImatrix    = condition{"no imatrix", func(p place) bool { return !p.imatrix }}
	anImatrix    = condition{"an imatrix", func(p place) bool { return p.imatrix }}
	moreBits     = condition{"a layer that gets more bits", func(p place) bool { return more(p.layer, p.layers) }}
	firstEighth  = condition{"in the first eighth of the layers", func(p place) bool { return p.layer < p.layers/8 }}
	first16th    = condition{"in the first sixteenth of the layers", func(p place) bool { return p.layer < p.layers/16 }}
	firstTwo     = condition{"one of the first two", func(p place) bool { return p.layer < 2 }}
	firstFour    = condition{"one of the first four", func(p place) bool { return p.layer < 4 }}
	unfitRows    = condition{"rows do not divide by the default type's block", func(p place) bool { return p.unfit }}
	not8         = condition{"the default type is not Q8_0", func(p place) bool { return !p.rather8 }}
	stacked      = condition{"stacked experts", func(p place) bool { return p.matrices > 1 }}
	bailing3     = condition{"BailingMoE 3", func(p place) bool { return p.arch == "bailingmoe3" }}
	middle       = condition{"between the first and the last eighth of the layers", func(p place) bool {
		return p.layer >= p.layers/8 && p.layer < 7*p.layers/8
	}}
)

func not(c condition) condition {
	return condition{"not " + c.says, func(p place) bool { return !c.holds(p) }}
}

// more picks the layers that get more bits: the first and last eighth, and every third between.
func more(i, n int) bool { return i < n/8 || i >= 7*n/8 || (i-n/8)%3 == 2 }

type rule struct {
	roles []role
	files []FileType // nil: all
	when  []condition
	to    gguf.Type // keep: the default type
}

// keep ends the search without a change.
const keep gguf.Type = 1<<32 - 1

var (
	// low is the group of file types with rules of its own for attention and ffn_down.
	low     = []FileType{IQ2XXS, IQ2XS, IQ1S, IQ2S, IQ2M, IQ1M}
	lowest  = []FileType{IQ2XXS, IQ2XS, IQ1S, IQ1M}
	iq2     = []FileType{IQ2S, IQ2M}
	any4    = []FileType{IQ4NL, IQ4XS}
	ternary = []FileType{TQ1_0, TQ2_0, Q2_0}
)

type (
	parts []role
	files []FileType
	given []condition
)

// The order matters within a role only. A rule without conditions ends its file types' list, so what follows it for the same
// role and file type is never reached; rules that end with keep fence off a group whose members keep the default type.
var mixture = []rule{
	// the output, and embeddings that serve as output
	{parts{output}, files{MXFP4}, nil, gguf.Q8_0},
	{parts{output}, nil, given{falcon}, gguf.Q8_0},
	{parts{output}, nil, given{unfitRows}, gguf.Q8_0},
	{parts{output}, append(files{IQ3XXS}, low...), nil, gguf.Q5_K},
	{parts{output}, nil, given{not8}, gguf.Q6_K},

	// MXFP4_MOE: experts in MXFP4, all else in Q8_0; projections of BailingMoE 3's latent are stacked too
	{parts{ffnUp, ffnGate, ffnDown}, files{MXFP4}, given{stacked}, gguf.MXFP4},
	{nil, files{MXFP4}, given{stacked, not(bailing3)}, gguf.MXFP4},
	{nil, files{MXFP4}, nil, gguf.Q8_0},

	// embeddings of models that have an output of their own: the smallest types would lose whole tokens
	{parts{embedding}, lowest, nil, gguf.Q2_K},
	{parts{embedding}, append(files{IQ3XXS}, iq2...), nil, gguf.IQ3S},
	{parts{embedding}, ternary, nil, gguf.Q4_K},

	// values: small where query heads share them, and the most sensitive of a layer
	{parts{attnV}, low, given{wideGroups}, gguf.Q4_K},
	{parts{attnV}, low, given{manyExperts}, gguf.Q4_K},
	{parts{attnV}, iq2, nil, gguf.IQ3S},
	{parts{attnV}, lowest, nil, gguf.Q2_K},
	{parts{attnV}, nil, given{eightExperts}, gguf.Q8_0},
	{parts{attnV}, files{Q2_K, Q2_K_S, IQ3XXS, IQ3XS, IQ3S}, given{wideGroups}, gguf.Q4_K},
	{parts{attnV}, files{Q2_K}, nil, gguf.Q3_K},
	{parts{attnV}, files{IQ3XXS}, given{noImatrix}, gguf.IQ3S},
	{parts{attnV}, files{IQ3XXS}, nil, gguf.IQ3XXS},
	{parts{attnV}, files{IQ3M}, nil, gguf.Q4_K},
	{parts{attnV}, files{Q3_K_M}, given{firstTwo}, gguf.Q5_K},
	{parts{attnV}, files{Q3_K_M}, nil, gguf.Q4_K},
	{parts{attnV}, files{Q3_K_L}, nil, gguf.Q5_K},
	{parts{attnV}, any4, given{wideGroups}, gguf.Q5_K},
	{parts{attnV}, files{Q4_K_M, Q5_K_M}, given{moreBits}, gguf.Q6_K},
	{parts{attnV}, files{Q4_K_S}, given{firstFour}, gguf.Q5_K},

	// keys and queries: with eight experts attention is so small a part that Q8_0 costs nearly nothing
	{parts{attnK}, low, given{eightExperts}, gguf.Q4_K},
	{parts{attnK}, low, nil, keep},
	{parts{attnK}, nil, given{eightExperts}, gguf.Q8_0},
	{parts{attnK, attnQ}, files{IQ3XS}, nil, gguf.IQ3XXS},
	{parts{attnK, attnQ}, files{IQ3XXS}, nil, gguf.IQ2S},

	// the projection behind attention; Falcon has its own idea of it
	{parts{attnOutput}, low, given{eightExperts}, gguf.Q5_K},
	{parts{attnOutput}, files{IQ1S, IQ1M}, nil, gguf.IQ2XXS},
	{parts{attnOutput}, iq2, nil, gguf.IQ3S},
	{parts{attnOutput}, low, nil, keep},
	{parts{attnOutput}, files{Q3_K_L}, given{falcon}, gguf.Q4_K},
	{parts{attnOutput}, nil, given{falcon}, keep},
	{parts{attnOutput}, files{Q2_K, IQ3XS, IQ3XXS, Q3_K_S, Q3_K_M, IQ4NL, Q4_K_S, Q4_K_M, IQ3S, IQ3M, IQ4XS}, given{eightExperts}, gguf.Q5_K},
	{parts{attnOutput}, nil, given{eightExperts}, keep},
	{parts{attnOutput}, files{Q2_K}, nil, gguf.Q3_K},
	{parts{attnOutput}, files{IQ3XXS}, nil, gguf.IQ3S},
	{parts{attnOutput}, files{Q3_K_M, IQ3M}, nil, gguf.Q4_K},
	{parts{attnOutput}, files{Q3_K_L}, nil, gguf.Q5_K},

	// the second half of the feed-forward network: the largest tensor of which early and late layers deserve more
	{parts{ffnDown}, iq2, given{firstEighth}, gguf.IQ3S},
	{parts{ffnDown}, lowest, given{firstEighth}, gguf.Q2_K},
	{parts{ffnDown}, files{Q2_K}, nil, gguf.Q3_K},
	{parts{ffnDown}, files{Q2_K_S}, given{firstEighth}, gguf.Q4_K},
	{parts{ffnDown}, files{IQ3XXS}, given{noImatrix, firstEighth}, gguf.Q4_K},
	{parts{ffnDown}, files{IQ3XXS}, given{noImatrix}, gguf.Q3_K},
	{parts{ffnDown}, files{Q3_K_M}, given{first16th}, gguf.Q5_K},
	{parts{ffnDown}, files{Q3_K_M}, given{not(falcon)}, gguf.Q4_K},
	{parts{ffnDown}, files{Q3_K_M}, given{moreBits}, gguf.Q4_K},
	{parts{ffnDown}, files{IQ3M}, given{firstEighth}, gguf.Q4_K},
	{parts{ffnDown}, files{IQ3M}, given{eightExperts, moreBits}, gguf.Q4_K},
	{parts{ffnDown}, files{Q3_K_L}, given{falcon}, gguf.Q4_K},
	{parts{ffnDown}, files{Q3_K_L}, nil, gguf.Q5_K},
	{parts{ffnDown}, files{Q4_K_M}, given{falcon, first16th}, gguf.Q6_K},
	{parts{ffnDown}, files{Q4_K_M}, given{falcon, moreBits}, gguf.Q5_K},
	{parts{ffnDown}, files{Q4_K_M}, given{not(falcon), moreBits}, gguf.Q6_K},
	{parts{ffnDown}, any4, given{noImatrix, firstEighth}, gguf.Q5_K},
	{parts{ffnDown}, files{Q5_K_M}, given{moreBits}, gguf.Q6_K},
	{parts{ffnDown}, files{Q4_K_S}, given{not(falcon), firstEighth}, gguf.Q5_K},
	// only with an imatrix, so that files without one stay what they were before there was any
	{parts{ffnDown}, files{Q4_0}, given{anImatrix, firstEighth}, gguf.Q4_1},
	{parts{ffnDown}, files{Q5_0}, given{anImatrix, firstEighth}, gguf.Q5_1},

	{parts{ffnUp, ffnGate}, files{IQ3XS}, given{middle}, gguf.IQ3XXS},
}

// choose applies the mixture; text is the rule for receipts.
func choose(r role, ft FileType, p place) (to gguf.Type, text string) {
	to, text = ft.Default(), string(r)+" has no rule of its own"
	for _, rule := range mixture {
		if !rule.applies(r, ft, p) {
			continue
		}
		if rule.to != keep {
			to, text = rule.to, rule.text(r)
		}
		break
	}
	if r == attnV && p.is70B && !slices.Contains(low, ft) && (to == gguf.Q3_K || to == gguf.Q4_K) {
		// eight query heads share a key head there, so attn_v is small and worth more bits
		return gguf.Q5_K, "attn_v of a model of llama.cpp's size class 70B"
	}
	return to, text
}

func (r rule) applies(of role, ft FileType, p place) bool {
	if r.roles != nil && !slices.Contains(r.roles, of) || r.files != nil && !slices.Contains(r.files, ft) {
		return false
	}
	for _, c := range r.when {
		if !c.holds(p) {
			return false
		}
	}
	return true
}

func (r rule) text(of role) string {
	parts := []string{string(of)}
	for _, c := range r.when {
		parts = append(parts, c.says)
	}
	return strings.Join(parts, ", ")
}
