package dequant

import (
	"context"
	"fmt"
	"slices"

	"quern/convert/fault"
	"quern/convert/safetensors"
	"quern/convert/view"
)

// Four-bit blocks move to llama.cpp's layout by their bits alone. In a checkpoint element 2i of a row stands in the low half of
// byte i and element 2i+1 in the high one; in llama.cpp's block element j stands beside element j + half a block. The codes
// themselves are the same. Source: ggml-common.h, block_mxfp4 and block_nvfp4; conversion/base.py, repack_mxfp4_blocks, _nvfp4_pack.

const (
	mxGroup = 32 // elements of an MXFP4 block, one E8M0 scale each
	nvGroup = 16 // elements of an NVFP4 scale
	nvBlock = 64 // elements of an NVFP4 block: four scales, then the codes
	nvBytes = nvBlock/nvGroup + nvBlock/2
)

// MXFP4 is codes [..., rows, columns/2] (or [..., rows, columns/32, 16]) and scales [..., rows, columns/32], both one byte an
// element, as rows of MXFP4 blocks: a tensor of bytes whose last dimension is columns/32 x 17.
func MXFP4(codes, scales view.Tensor) (view.Tensor, error) {
	n := len(scales.Shape)
	if codes.DType.Size() != 1 || scales.DType.Size() != 1 || n < 2 {
		return codes, invalid(codes, "%s with scales of %s as MXFP4", typed(codes), typed(scales))
	}
	groups := scales.Shape[n-1]
	flat, err := view.Reshape(codes, slices.Concat(scales.Shape[:n-1], []int64{groups * mxGroup / 2})...)
	if err != nil || len(codes.Shape) == n && codes.Shape[n-1] != groups*mxGroup/2 {
		return codes, invalid(codes, "%s with scales of %s: want one scale for %d elements", typed(codes), typed(scales), mxGroup)
	}
	return interleave(flat, scales, 1, mxGroup/2, func(dst, scale, codes []byte) {
		dst[0] = scale[0]
		spread(dst[1:], codes)
	}), nil
}

// NVFP4 is codes [rows, columns/2] and E4M3 scales [rows, columns/16] as rows of NVFP4 blocks: a tensor of bytes whose last
// dimension is columns/64 x 36. The scales lose their sign, which llama.cpp's unsigned type has no place for.
func NVFP4(codes, scales view.Tensor) (view.Tensor, error) {
	if !IsNVFP4(codes, scales) || scales.RowLen()%(nvBlock/nvGroup) != 0 {
		return codes, invalid(codes, "%s with scales of %s as NVFP4: want one scale for %d elements and rows of a multiple of %d", typed(codes), typed(scales), nvGroup, nvBlock)
	}
	const scalesOf, half = nvBlock / nvGroup, nvGroup / 2
	return interleave(codes, scales, scalesOf, nvBlock/2, func(dst, scale, codes []byte) {
		for i := range scalesOf {
			dst[i] = scale[i] & 0x7F
			spread(dst[scalesOf+i*half:], codes[i*half:(i+1)*half])
		}
	}), nil
}

// IsNVFP4 tells whether two tensors have the shapes and types of NVFP4 codes and their scales.
func IsNVFP4(codes, scales view.Tensor) bool {
	return codes.DType.Size() == 1 && scales.DType.Size() == 1 && len(codes.Shape) == 2 && len(scales.Shape) == 2 &&
		codes.Shape[0] == scales.Shape[0] && codes.Shape[1] == scales.Shape[1]*nvGroup/2
}

// Columns is the number of elements in a row of NVFP4 blocks.
func Columns(blocks view.Tensor) int64 { return blocks.RowLen() / nvBytes * nvBlock }

// MoveColumns puts the columns of NVFP4 blocks in another order, which must keep the elements of a scale together.
func MoveColumns(blocks view.Tensor, index []int64) (view.Tensor, error) {
	if blocks.RowLen()%nvBytes != 0 || int64(len(index)) != Columns(blocks) {
		return blocks, invalid(blocks, "%s as NVFP4 blocks of %d columns", typed(blocks), len(index))
	}
	groups := make([]int64, len(index)/nvGroup)
	for i, from := range index {
		if from < 0 || from >= int64(len(index)) || from%nvGroup != int64(i%nvGroup) || i%nvGroup > 0 && from != index[i-1]+1 {
			return blocks, invalid(blocks, "column %d becomes column %d: an NVFP4 scale would serve elements of several", from, i)
		}
		groups[i/nvGroup] = from / nvGroup
	}
	const scales, half = nvBlock / nvGroup, nvGroup / 2
	out := blocks
	out.Reader = view.RowFunc(func(ctx context.Context, dst []byte, lo, hi int64) error {
		row := blocks.RowBytes()
		s := borrow(row, 0)
		defer s.release()
		for ; lo < hi; lo++ {
			if err := blocks.ReadRows(ctx, s.bytes, lo, lo+1); err != nil {
				return err
			}
			for to, from := range groups {
				d, f := dst[int64(to)/scales*nvBytes:], s.bytes[from/scales*nvBytes:]
				i, j := int64(to)%scales, from%scales
				d[i] = f[j]
				copy(d[scales+i*half:scales+(i+1)*half], f[scales+j*half:scales+(j+1)*half])
			}
			dst = dst[row:]
		}
		return nil
	})
	return out, nil
}

// spread writes pairs of neighbours as pairs that are half a block apart.
func spread(dst, src []byte) {
	half := len(src) / 2
	for i, b := range src[:half] {
		c := src[half+i]
		dst[2*i] = b&0x0F | c<<4
		dst[2*i+1] = b>>4 | c&0xF0
	}
}

// interleave makes rows of blocks, each of some scales and some bytes of codes.
func interleave(codes, scales view.Tensor, scalesOf, codesOf int64, block func(dst, scale, codes []byte)) view.Tensor {
	blocks := scales.RowLen() / scalesOf
	out := view.Tensor{Name: codes.Name, DType: safetensors.U8, Shape: slices.Clone(codes.Shape)}
	out.Shape[len(out.Shape)-1] = blocks * (scalesOf + codesOf)
	size := scalesOf + codesOf
	out.Reader = view.RowFunc(func(ctx context.Context, dst []byte, lo, hi int64) error {
		rows := rowsOf(codes.RowBytes() + scales.RowBytes())
		s := borrow(min(rows, hi-lo)*(codes.RowBytes()+scales.RowBytes()), 0)
		defer s.release()
		for lo < hi {
			k := min(rows, hi-lo)
			c, sc := s.bytes[:k*codes.RowBytes()], s.bytes[k*codes.RowBytes():][:k*scales.RowBytes()]
			if err := codes.ReadRows(ctx, c, lo, lo+k); err != nil {
				return err
			}
			if err := scales.ReadRows(ctx, sc, lo, lo+k); err != nil {
				return err
			}
			for i := range k * blocks {
				block(dst[i*size:(i+1)*size], sc[i*scalesOf:], c[i*codesOf:(i+1)*codesOf])
			}
			dst, lo = dst[k*blocks*size:], lo+k
		}
		return nil
	})
	return out
}

func invalid(t view.Tensor, format string, args ...any) error {
	return &fault.Invalid{On: fmt.Sprintf("tensor %q", t.Name), Says: fmt.Sprintf(format, args...)}
}

func typed(t view.Tensor) string { return fmt.Sprintf("%s %v", t.DType, t.Shape) }
