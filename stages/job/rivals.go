package job

import "quern/quantize/llamacpp"

// Rivals says how a mixture of types stands beside named types, as its receipt has it.
type Rivals struct {
	Says  string  `json:"says"`            // the sentence, with both numbers; or why nothing was measured
	Next  string  `json:"next,omitempty"`  // the named type of the next smaller size; empty: none is smaller
	Beats *bool   `json:"beats,omitempty"` // the mixture diverges less from the source than Next does; nil: not measured
	Files []Rival `json:"files,omitempty"` // the mixture, then the named types from small to large; none: not measured
}

// Rival is one file of the comparison.
type Rival struct {
	Type       string          `json:"type"` // "mixture", or the named type
	Bytes      int64           `json:"bytes"`
	BPW        float64         `json:"bits_per_weight"`
	Perplexity llamacpp.Number `json:"perplexity"`
	KLD        llamacpp.Number `json:"kl_divergence"` // from the source, mean over the predicted tokens
	SameTop    float64         `json:"same_top"`      // share of tokens that both put first
	Chunks     int             `json:"chunks"`        // of the text that were judged
}
