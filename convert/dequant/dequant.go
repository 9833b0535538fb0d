// Package dequant reads checkpoints whose weights are stored quantized: their tensors become float32 views of what they stand
// for, or, where llama.cpp has the format itself, bytes in its layout.
//
//	FP8               weight x scale, by block, row or tensor              Scaled
//	compressed-tensors float, integers, packed integers                   Scaled, Packed
//	modelopt          FP8, told in config.json or hf_quant_config.json    Scaled
//	GPTQ              2, 4 and 8 bits, both formats of zeros              GPTQ
//	BitNet            packed ternary weights                              Ternary
//	MXFP4, NVFP4      moved bit by bit, nothing is lost                   MXFP4, NVFP4
//
// Apply works on the tensors of a checkpoint by name: a weight takes its scales in, and they are gone. Everything is views: no
// value is computed before its row is asked for, and a reader holds some chunks of stored rows at most.
//
// Held by tests: every format equals the reference bit for bit (convert's cases src-*, TestReaders), alone and in any cut into rows.
package dequant

import (
	"fmt"
	"slices"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/safetensors"
	"quern/convert/view"
)

// Tensor is a tensor under the name that rules see.
type Tensor struct {
	Name   string
	View   view.Tensor
	Source string // the stored tensor that it came with
	FP8    bool   // made of eight-bit floats
}

// Set is the tensors of a checkpoint in order.
type Set struct {
	Used    []string          // stored tensors that went into others
	Dropped map[string]string // stored tensors that go nowhere -> why

	list []Tensor
	at   map[string]int // name -> index in list
	gone map[int]bool
}

// NewSet takes over a list in which no name stands twice.
func NewSet(list []Tensor) *Set {
	s := &Set{list: list, at: make(map[string]int, len(list)), gone: map[int]bool{}, Dropped: map[string]string{}}
	for i := range list {
		s.at[list[i].Name] = i
	}
	return s
}

// Tensors are the tensors that are left, in order.
func (s *Set) Tensors() []Tensor {
	out := make([]Tensor, 0, len(s.list))
	for i := range s.list {
		if !s.gone[i] {
			out = append(out, s.list[i])
		}
	}
	return out
}

// Names are the names of Tensors at the time of the call: the set may change while one goes through them.
func (s *Set) Names() []string {
	out := make([]string, 0, len(s.list))
	for i := range s.list {
		if !s.gone[i] {
			out = append(out, s.list[i].Name)
		}
	}
	return out
}

// Find gives a tensor by its name.
func (s *Set) Find(name string) (*Tensor, bool) {
	i, ok := s.at[name]
	if !ok {
		return nil, false
	}
	return &s.list[i], true
}

// Take removes a tensor that went into another one.
func (s *Set) Take(name string) {
	if t, ok := s.remove(name); ok {
		s.Used = append(s.Used, t.Source)
	}
}

// Drop removes a tensor that goes nowhere.
func (s *Set) Drop(name, reason string) {
	if t, ok := s.remove(name); ok {
		s.Dropped[t.Source] = reason
	}
}

func (s *Set) remove(name string) (Tensor, bool) {
	i, ok := s.at[name]
	if !ok {
		return Tensor{}, false
	}
	delete(s.at, name)
	s.gone[i] = true
	return s.list[i], true
}

// Append adds a tensor at the end, or in place of one of the same name.
func (s *Set) Append(t Tensor) {
	if old, ok := s.Find(t.Name); ok {
		*old = t
		return
	}
	s.at[t.Name] = len(s.list)
	s.list = append(s.list, t)
}

// Rename gives a tensor another name and moves it to the end.
func (s *Set) Rename(name, to string) {
	if t, ok := s.remove(name); ok {
		t.Name = to
		s.Append(t)
	}
}

// need gives the tensors of these names, or says which one the checkpoint lacks.
func (s *Set) need(base string, ends ...string) ([]*Tensor, error) {
	out := make([]*Tensor, len(ends))
	for i, end := range ends {
		t, ok := s.Find(base + end)
		if !ok {
			return nil, &fault.Invalid{On: "checkpoint", Says: fmt.Sprintf("no tensor %s, which belongs to %s", base+end, base+ends[0])}
		}
		out[i] = t
	}
	return out, nil
}

// Method is the quantization method of a completed configuration, "" where its weights are plain.
func Method(quantization config.Object) string {
	m, _ := quantization.String("quant_method")
	return m
}

// Apply makes float32 of everything that a configuration's quantization_config describes. original is the repository that the
// checkpoint was made from, for refusals; "" where it is not known. Source: conversion/base.py, dequant_model.
func (s *Set) Apply(quantization config.Object, original string) error {
	switch method := Method(quantization); method {
	case "":
		return s.unnamed(quantization, original)
	case "bitnet":
		return s.each(".weight_scale", ".weight", Ternary)
	case "fp8":
		return s.fp8(quantization)
	case "gptq":
		return s.gptq(quantization, original)
	case "compressed-tensors":
		return s.compressed(quantization, original)
	case "modelopt":
		return s.modelopt()
	default:
		return refuse(method, original)
	}
}

// each replaces weights by what f makes of them and their scales: a scale is what its name ends with, and its weight
// has weight in place of that end.
func (s *Set) each(end, weight string, f func(w, scale view.Tensor) (view.Tensor, error)) error {
	for _, name := range s.Names() {
		base, ok := strings.CutSuffix(name, end)
		if !ok {
			continue
		}
		found, err := s.need(base, weight, end)
		if err != nil {
			return err
		}
		w := found[0]
		w.FP8 = isFP8(w.View.DType)
		if w.View, err = f(w.View, found[1].View); err != nil {
			return err
		}
		s.Take(name)
	}
	return nil
}

func isFP8(d safetensors.DType) bool { return d == safetensors.F8E4M3 || d == safetensors.F8E5M2 }

// dropEnds drops what only a runtime that quantizes activations too has a use for.
func (s *Set) dropEnds(ends ...string) {
	for _, name := range s.Names() {
		if slices.ContainsFunc(ends, func(e string) bool { return strings.HasSuffix(name, e) }) {
			s.Drop(name, "a scale of activations, which stay unquantized")
		}
	}
}

// fp8 is DeepSeek's format and its relatives, Mistral's among them.
func (s *Set) fp8(q config.Object) error {
	block, err := extents(q, "weight_block_size")
	if err != nil {
		return err
	}
	scaled := func(w, scale view.Tensor) (view.Tensor, error) { return Scaled(w, scale, block) }
	if err := s.each("_scale_inv", "", scaled); err != nil {
		return err
	}
	if err := s.each(".qscale_weight", ".weight", scaled); err != nil {
		return err
	}
	s.dropEnds(".activation_scale", "_activation_scale", ".qscale_act")
	return nil
}

// modelopt is NVIDIA's FP8; what it stores as NVFP4 has been taken out before.
func (s *Set) modelopt() error {
	for _, name := range s.Names() {
		base, ok := strings.CutSuffix(name, "_scale")
		if _, has := s.Find(base); ok && strings.HasSuffix(name, ".weight_scale") && !has {
			s.Drop(name, "the weight that it scales is not there")
		}
	}
	if err := s.each(".weight_scale", ".weight", func(w, scale view.Tensor) (view.Tensor, error) { return Scaled(w, scale, nil) }); err != nil {
		return err
	}
	s.dropEnds(".input_scale", ".k_scale", ".v_scale")
	return nil
}

func (s *Set) gptq(q config.Object, original string) error {
	bits, ok := q.Int("bits")
	if !ok || bits != 2 && bits != 4 && bits != 8 {
		return &fault.Unsupported{On: "config.json: quantization_config", Says: fmt.Sprintf("GPTQ of %v bits; 2, 4 and 8 are read", q["bits"]), Next: madeFrom(original)}
	}
	format, ok := q.String("checkpoint_format")
	for _, name := range s.Names() {
		base, is := strings.CutSuffix(name, ".qweight")
		if !is {
			continue
		}
		t, err := s.need(base, ".qweight", ".qzeros", ".scales", ".g_idx")
		if err != nil {
			return err
		}
		g := GPTQ{Codes: t[0].View, Zeros: t[1].View, Scales: t[2].View, Groups: t[3].View, Bits: bits, Less: !ok || format == "gptq"}
		v, err := g.Tensor(base + ".weight")
		if err != nil {
			return err
		}
		s.Append(Tensor{Name: base + ".weight", View: v, Source: t[0].Source})
		for _, end := range []string{".qweight", ".qzeros", ".scales", ".g_idx"} {
			s.Take(base + end)
		}
	}
	return nil
}

// extents reads a list of block sizes; nil where there is none.
func extents(q config.Object, key string) ([]int64, error) {
	v, ok := q[key]
	if !ok || v == nil {
		return nil, nil
	}
	list, ok := v.([]any)
	out := make([]int64, len(list))
	for i, x := range list {
		n, isInt := x.(int64)
		if ok = ok && isInt && n > 0; ok {
			out[i] = n
		}
	}
	if !ok || len(out) == 0 {
		return nil, &fault.Invalid{On: "config.json: quantization_config." + key, Says: fmt.Sprintf("%v where block sizes are needed", v)}
	}
	return out, nil
}
