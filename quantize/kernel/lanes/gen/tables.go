package main

// iq4Values are the levels of IQ4_NL and IQ4_XS (kvalues_iq4nl in ggml-common.h).
var iq4Values = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// iq4Tables gives the values and the bounds between them: the smallest float that the reference rounds up, which is the middle,
// because the distances it compares are exact there (a test of the package searches the neighbours).
func iq4Tables() (bounds [15]float32, values [16]float32) {
	for i := range bounds {
		bounds[i] = (iq4Values[i] + iq4Values[i+1]) / 2
	}
	return bounds, iq4Values
}
