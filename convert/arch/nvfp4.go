package arch

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"quern/convert/dequant"
	"quern/convert/gguf"
	"quern/convert/view"
)

// NVFP4 weights go into the file as blocks, before all other tensors, with their two further scales as tensors of their own.
// Experts that stand one by one are stacked once all of a projection have come. The entry's rules see a weight as rows of
// bytes, which they may rename, drop and reorder, not compute with. Source: conversion/base.py, _generate_nvfp4_tensors.

// nvfp4Weight is one weight with its scales.
type nvfp4Weight struct {
	name, source  string
	view          view.Tensor // blocks
	scale, inputs []float32   // of the weight; of the activations
}

// nvfp4 takes all NVFP4 weights out of the set and writes them.
func (b *Build) nvfp4(s *dequant.Set) error {
	// Two tools write the same blocks under different names; from here on there is one.
	if err := modeloptNames(s); err != nil {
		return err
	}
	experts := map[string][]nvfp4Weight{} // by the name of the stack
	var order []string
	want, err := b.expertCount()
	if err != nil {
		return err
	}
	for _, name := range s.Names() {
		w, ok, err := b.nvfp4Weight(s, name)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		stack, _ := expertOf(name)
		if stack == "" {
			if err := b.writeNVFP4(w); err != nil {
				return err
			}
			continue
		}
		if experts[stack] == nil {
			order = append(order, stack)
		}
		// A stack is written where its last member arrives, which decides the order of the file. Without a count it waits for the end.
		if experts[stack] = append(experts[stack], w); want > 0 && int64(len(experts[stack])) >= want {
			if err := b.writeExperts(stack, experts[stack]); err != nil {
				return err
			}
			delete(experts, stack)
		}
	}
	for _, stack := range order {
		if list := experts[stack]; list != nil {
			if err := b.writeExperts(stack, list); err != nil {
				return err
			}
		}
	}
	for _, name := range s.Names() {
		// Such tensors stand beside the weights that share their ending, and would be taken for weights that have no place.
		if hasSuffix(name, ".k_scale", ".v_scale") {
			s.Drop(name, "a scale of the cache, which stays unquantized")
		}
	}
	return nil
}

func (b *Build) expertCount() (int64, error) {
	return b.Int(Else(Opt("num_local_experts", "num_experts"), 0))
}

// modeloptNames gives compressed-tensors' tensors modelopt's names; its outer scales divide where modelopt's multiply.
func modeloptNames(s *dequant.Set) error {
	for _, name := range s.Names() {
		t, _ := s.Find(name)
		for _, r := range [][2]string{{".weight_packed", ".weight"}, {".weight_global_scale", ".weight_scale_2"}, {".input_global_scale", ".input_scale"}} {
			base, ok := strings.CutSuffix(name, r[0])
			if _, taken := s.Find(base + r[1]); !ok || taken {
				continue
			}
			if r[0] != ".weight_packed" {
				v, err := wide(t.View)
				if err != nil {
					return err
				}
				if t.View, err = view.Map(v, func(v []float32) {
					for i := range v {
						v[i] = 1 / v[i]
					}
				}); err != nil {
					return err
				}
			}
			s.Rename(name, base+r[1])
		}
	}
	return nil
}

// nvfp4Weight gathers a weight and its scales; ok is false for tensors that are none.
func (b *Build) nvfp4Weight(s *dequant.Set, name string) (w nvfp4Weight, ok bool, err error) {
	base, is := strings.CutSuffix(name, ".weight")
	codes, has := s.Find(name)
	scale, scaled := s.Find(base + ".weight_scale")
	// A checkpoint mixes forms: layers left in FP8 or BF16 go the usual way, told apart by the types of codes and scales.
	if !is || !has || !scaled || !dequant.IsNVFP4(codes.View, scale.View) {
		return w, false, nil
	}
	w = nvfp4Weight{name: name, source: codes.Source}
	if w.view, err = dequant.NVFP4(codes.View, scale.View); err != nil {
		return w, false, err
	}
	for _, f := range []struct {
		to  *[]float32
		end string
	}{{&w.scale, ".weight_scale_2"}, {&w.inputs, ".input_scale"}} {
		// A missing outer scale is 1, which is not written.
		*f.to = []float32{1}
		if t, ok := s.Find(base + f.end); ok {
			if *f.to, err = b.Floats(t.View); err != nil {
				return w, false, err
			}
			s.Take(base + f.end)
		}
	}
	s.Take(name)
	s.Take(base + ".weight_scale")
	return w, true, nil
}

// expertOf is the name of the stack that a single expert's weight belongs to, and the expert's number; "" for other weights.
func expertOf(name string) (stack string, expert int64) {
	before, after, ok := strings.Cut(name, ".experts.")
	parts := strings.Split(after, ".")
	if !ok || len(parts) != 3 || !isDigits(parts[0]) || !slices.Contains([]string{"gate_proj", "up_proj", "down_proj"}, parts[1]) {
		return "", 0
	}
	expert, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return "", 0
	}
	// The reference searches for the number and takes 0 where there is none.
	block := "0"
	if _, rest, ok := strings.Cut(before, ".layers."); ok {
		block = rest[:digits(rest)]
	}
	return "model.layers." + block + ".mlp.experts." + parts[1] + ".weight", expert
}

// writeNVFP4 takes a weight through the entry's rules and writes what comes of it.
func (b *Build) writeNVFP4(w nvfp4Weight) error {
	items, err := b.pass(b.Env.Arch.Tensors, Item{Name: w.name, View: w.view, Source: w.source, Block: blockOf(w.name), Blocks: gguf.NVFP4})
	if err != nil {
		return err
	}
	for _, it := range items {
		if err := b.emitNVFP4(it.Name, it.View, w.source, w.scale, w.inputs, one); err != nil {
			return err
		}
	}
	return nil
}

// writeExperts writes a projection of all experts, by their numbers.
func (b *Build) writeExperts(stack string, list []nvfp4Weight) error {
	// Names are in the order of code points, where expert 10 stands before 2.
	slices.SortStableFunc(list, func(x, y nvfp4Weight) int {
		_, i := expertOf(x.name)
		_, j := expertOf(y.name)
		return cmp.Compare(i, j)
	})
	views := make([]view.Tensor, len(list))
	scales, inputs := make([]float32, len(list)), make([]float32, len(list))
	for i, w := range list {
		views[i], scales[i], inputs[i] = w.view, sum(w.scale), sum(w.inputs)
	}
	v, err := view.Stack(views...)
	if err != nil {
		return err
	}
	return b.emitNVFP4(stack, v, list[len(list)-1].source, scales, inputs, allOnes)
}

// emitNVFP4 writes blocks and, where they are not trivial, their scales behind them.
func (b *Build) emitNVFP4(name string, v view.Tensor, source string, scales, inputs []float32, trivial func([]float32) bool) error {
	_, full, ok := b.names.Map(name)
	if !ok {
		b.unknown = append(b.unknown, unknown{source, name})
		return nil
	}
	if err := b.Emit(full, gguf.NVFP4, v, source, true); err != nil {
		return err
	}
	for _, s := range []struct {
		values []float32
		end    string
	}{{scales, ".scale"}, {inputs, ".input_scale"}} {
		if trivial(s.values) {
			continue
		}
		// All occurrences, as Python's replace has it; a role's name has the ending once.
		name := strings.ReplaceAll(full, ".weight", s.end)
		t, err := view.Values(name, []int64{int64(len(s.values))}, s.values)
		if err == nil {
			err = b.Emit(name, gguf.F32, t, source, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// one tells whether a scale is a single 1, within the reference's tolerance; allOnes whether all scales of a stack are.
func one(v []float32) bool {
	return len(v) <= 1 && math.Abs(float64(sum(v))-1) < 1e-6
}

func allOnes(v []float32) bool {
	// The bounds are those of numpy's allclose with an absolute tolerance of 1e-6; a NaN is not close to anything, and is written.
	return !slices.ContainsFunc(v, func(x float32) bool { return !(math.Abs(float64(x)-1) <= 1e-6+1e-5) })
}

func sum(v []float32) float32 {
	s := float32(0)
	for _, x := range v {
		s += x
	}
	return s
}
