// Package lanes holds the searches that llama.cpp's quantization spends its time in, as vector code whose lanes are blocks.
//
// A tile is rows of Width floats: row i holds weight i of each of Width blocks. Every lane does what the scalar code of the
// reference does, in its order and without fused multiply-add, so the results have the reference's bits. Where rounding by the
// vector unit might differ from the reference's (values beyond 4194303 steps, sums that are not finite) a lane is marked, and
// the caller does it in scalar code. The assembly is generated: see gen.
package lanes

// Vectors of one group of lanes in a state, Width floats each. Marks are all bits of a lane, or none.
const (
	Scale   = iota // the scale
	Min            // the minimum, not negated
	Inverse        // the inverse scale that gives the levels
	Base           // Fit: the minimum that goes with Inverse; else: marks lanes whose values are all below 1e-15
	Redo           // marks lanes that the caller has to do in scalar code
	Vectors = 13   // vectors of a group, the private ones too
)

// MaxWidth is the largest Width of any set.
const MaxWidth = 16

// Fit searches scale and minimum of Groups groups: x ~ scale*level + min, levels 0..most. levels is scratch as large as x. par is
// most in all lanes, then the candidates: free of them lie below most+0.49, the rest (at least one of each) need a clamp.
type Fit func(x, w, levels, state, par *float32, free, clamped int)

// Scaling searches the scale of Groups groups: x ~ scale*level. wx is scratch as large as x. par is the highest and the lowest
// level in all lanes, then the first constant and the candidates, free and clamped as for Fit, the first one not counted.
type Scaling func(x, w, wx, state, par *float32, free, clamped int)

// Set is the kernels of one instruction set. Pointers lead to whole tiles; nothing is checked.
type Set struct {
	Name  string // as in receipts: "avx2"
	Width int    // lanes

	// Groups is how many groups of rows a search does in one call, side by side: the more, the fuller the pipelines, as far as
	// the registers reach.
	Groups int

	// WeightMean writes sqrt(mean of 32 squares) + |x| for n groups of 32 rows; WeightAbs |x| and WeightSquare x^2 for n rows,
	// a multiple of 8.
	WeightMean, WeightAbs, WeightSquare func(w, x *float32, n int)
	// WeightImportance multiplies 256 rows of w by sqrt(s + x^2), s being the lane's sum of squares times both factors, and
	// writes the sum of w for every n rows.
	WeightImportance func(w, x, sums, factors *float32, n int)
	// WeightRow multiplies 32 rows of w by sqrt(s + x^2) with a given s for each lane.
	WeightRow func(w, x, s *float32)

	Fit32, Fit16, Fit16Magnitude Fit // the last one takes magnitudes of errors instead of squares
	Scale32, Scale16             Scaling
	Scale16One                   Scaling // of one group
	// Descent16 fits four groups by a scale, level by level (Q3_K); the levels are in levels on return.
	Descent16 func(x, w, wx, levels, state, par *float32)
	// Table32 fits Groups groups by a scale to the 16 values of IQ4_NL. par is the first constant in all lanes, then candidates.
	Table32 func(x, w, state, par *float32, candidates int)
	// Positive fits n rows of values that are not negative (the scales of a super-block) by a scale, with levels.
	Positive func(x, w, levels, state, par *float32, n int)

	// Transpose makes a tile of rows rows (a multiple of 8) out of Width blocks, stride floats apart.
	Transpose func(tile, blocks *float32, stride, rows int)
	// Requantize writes the levels clamp(nearest((x+min)/scale), limits[0], limits[1]) + limits[2] of pairs of 16 weights in
	// their natural order as bytes. step is the distance in bytes between the two scales of a pair: 4, or 0 if they share one.
	Requantize func(levels *byte, x, scales, mins *float32, limits *int16, pairs, step int)
}

// Sets are the sets that this machine can run, the widest first.
func Sets() []*Set { return available() }
