//go:build !purego

package lanes

// available: every arm64 processor has NEON.
func available() []*Set { return []*Set{&neon} }

var neon = Set{
	Name: "neon", Width: 4, Groups: 4,
	WeightMean: weightMeanNEON, WeightAbs: weightAbsNEON, WeightSquare: weightSquareNEON,
	WeightImportance: weightImportanceNEON, WeightRow: weightRowNEON,
	Fit32: fit32NEON, Fit16: fit16NEON, Fit16Magnitude: fit16MagnitudeNEON,
	Scale32: scale32NEON, Scale16: scale16NEON, Scale16One: scale16OneNEON,
	Descent16: descent16NEON, Table32: table32NEON, Positive: positiveNEON,
	Transpose:  func(tile, blocks *float32, stride, rows int) { transposeNEON(tile, blocks, 4*stride, rows) },
	Requantize: requantizeNEON,
}
