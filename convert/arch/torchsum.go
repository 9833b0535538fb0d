package arch

import (
	"context"
	"math/bits"

	"quern/convert/view"
)

// torchSum adds values up in torch's order on a CPU, whatever its vectors: four accumulators of eight lanes (of one where there
// are less than eight values), carried over into coarser ones every so many steps. Values may come in pieces.
// Source: PyTorch 2.6, aten SumKernel.cpp.
type torchSum struct {
	size, at       int64
	lanes, width   int64 // of a vector; of a step of four
	steps, vectors int64
	power          int // a level is carried over every 2^power of the level below
	acc            [4][32]float32
	rest           float32 // what fills no vector
}

func newTorchSum(size int64) *torchSum {
	s := &torchSum{size: size, lanes: 8}
	if size < s.lanes {
		s.lanes = 1
	}
	s.width = 4 * s.lanes
	s.steps, s.vectors = size/s.width, size/s.lanes
	s.power = max(4, bits.Len64(uint64(max(s.steps-1, 0)))/4)
	return s
}

// add takes the next values: as many in all as the sum was made for.
func (s *torchSum) add(v []float32) {
	for len(v) > 0 {
		n := min(int64(len(v)), s.until()-s.at)
		switch {
		case s.at < s.steps*s.width:
			accumulate(s.acc[0][s.at%s.width:][:n], v[:n])
		case s.at < s.vectors*s.lanes:
			accumulate(s.acc[0][s.at%s.lanes:][:n], v[:n])
		default:
			s.rest += sum(v[:n]) // at once: see until
		}
		v, s.at = v[n:], s.at+n
		if s.at%s.width == 0 && s.at <= s.steps*s.width {
			s.carry(s.at / s.width)
		}
	}
}

// until is where the values that are treated alike end.
func (s *torchSum) until() int64 {
	switch {
	case s.at < s.steps*s.width:
		return (s.at/s.width + 1) * s.width
	case s.at < s.vectors*s.lanes:
		return (s.at/s.lanes + 1) * s.lanes
	}
	return s.at + 1
}

// carry moves full levels up after a step, all of them after the last.
func (s *torchSum) carry(step int64) {
	for level := 1; level < 4 && step&(1<<(level*s.power)-1) == 0; level++ {
		accumulate(s.acc[level][:s.width], s.acc[level-1][:s.width])
		s.acc[level-1] = [32]float32{}
	}
	if step < s.steps {
		return
	}
	for level := 1; level < 4; level++ {
		accumulate(s.acc[0][:s.width], s.acc[level][:s.width])
	}
}

func (s *torchSum) total() float32 {
	for k := int64(1); k < 4; k++ {
		accumulate(s.acc[0][:s.lanes], s.acc[0][k*s.lanes:])
	}
	total := s.rest
	for _, x := range s.acc[0][:s.lanes] {
		total += x
	}
	return total
}

func accumulate(dst, src []float32) {
	for i := range dst {
		dst[i] += src[i]
	}
}

// torch gives the values of a large sum to its threads in equal shares, as many as the machine has cores, so that its bytes
// depend on the machine: these are those of two.
const (
	torchGrain   = 32768 // values that are worth a thread
	torchThreads = 2
)

// torchTotal adds up f of all values of a tensor, with the memory of a few rows.
func torchTotal(ctx context.Context, t view.Tensor, f func(float32) float32) (float32, error) {
	size := t.Elements()
	shares := max(1, min((size+torchGrain-1)/torchGrain, torchThreads))
	share := max(1, (size+shares-1)/shares)
	if size < torchGrain {
		share = max(1, size)
	}
	var total float32
	part := newTorchSum(min(share, size))
	left := size
	err := view.Each(ctx, t, func(_ int64, v []float32) error {
		for i := range v {
			v[i] = f(v[i])
		}
		for len(v) > 0 {
			n := min(int64(len(v)), part.size-part.at)
			part.add(v[:n])
			if v = v[n:]; part.at == part.size {
				left -= part.size
				total += part.total()
				part = newTorchSum(min(share, left))
			}
		}
		return nil
	})
	return total, err
}
