//go:build !purego

package lanes

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// available asks the CPU, and what the operating system saves of its registers: both are in these flags.
func available() []*Set {
	var sets []*Set
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL {
		sets = append(sets, &avx512)
	}
	if cpu.X86.HasAVX2 {
		sets = append(sets, &avx2)
	}
	return sets
}

var avx2 = Set{
	Name: "avx2", Width: 8, Groups: 2,
	WeightMean: weightMeanAVX2, WeightAbs: weightAbsAVX2, WeightSquare: weightSquareAVX2,
	WeightImportance: weightImportanceAVX2, WeightRow: weightRowAVX2,
	Fit32: fit32AVX2, Fit16: fit16AVX2, Fit16Magnitude: fit16MagnitudeAVX2,
	Scale32: scale32AVX2, Scale16: scale16AVX2, Scale16One: scale16OneAVX2,
	Descent16: descent16AVX2, Table32: table32AVX2, Positive: positiveAVX2,
	Transpose: func(tile, blocks *float32, stride, rows int) { transposeAVX2(tile, blocks, 4*stride, 32, rows) },
	// natural order needs no tile: all x86 sets share it
	Requantize: requantizeAVX2,
}

var avx512 = Set{
	Name: "avx512", Width: 16, Groups: 2,
	WeightMean: weightMeanAVX512, WeightAbs: weightAbsAVX512, WeightSquare: weightSquareAVX512,
	WeightImportance: weightImportanceAVX512, WeightRow: weightRowAVX512,
	Fit32: fit32AVX512, Fit16: fit16AVX512, Fit16Magnitude: fit16MagnitudeAVX512,
	Scale32: scale32AVX512, Scale16: scale16AVX512, Scale16One: scale16OneAVX512,
	Descent16: descent16AVX512, Table32: table32AVX512, Positive: positiveAVX512,
	Transpose: func(tile, blocks *float32, stride, rows int) {
		transposeAVX2(tile, blocks, 4*stride, 64, rows)
		transposeAVX2((*float32)(unsafe.Add(unsafe.Pointer(tile), 32)), (*float32)(unsafe.Add(unsafe.Pointer(blocks), 32*stride)), 4*stride, 64, rows)
	},
	Requantize: requantizeAVX2,
}
