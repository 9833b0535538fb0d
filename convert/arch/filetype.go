package arch

import (
	"quern/convert/gguf"
	"quern/convert/safetensors"
	"quern/convert/view"
)

// FileType is what matrices are stored as: the converter's --type.
type FileType string

// The file types of the reference's converter.
const (
	F32  FileType = "f32"
	F16  FileType = "f16"
	BF16 FileType = "bf16"
	Q8_0 FileType = "q8_0"
	TQ1  FileType = "tq1_0"
	TQ2  FileType = "tq2_0"
	Auto FileType = "auto" // the first stored matrix that is bf16 or f16 decides, else f16
)

type fileTypeInfo struct {
	number uint32 // general.file_type
	tensor gguf.Type
	label  string // in file names
}

// Source of the numbers: gguf-py/gguf/constants.py, LlamaFileType.
var fileTypes = map[FileType]fileTypeInfo{
	F32: {0, gguf.F32, "F32"}, F16: {1, gguf.F16, "F16"}, BF16: {32, gguf.BF16, "BF16"},
	Q8_0: {7, gguf.Q8_0, "Q8_0"}, TQ1: {36, gguf.TQ1_0, "TQ1_0"}, TQ2: {37, gguf.TQ2_0, "TQ2_0"},
}

// Valid tells whether the type is one of the constants.
func (t FileType) Valid() bool { _, ok := fileTypes[t]; return ok || t == Auto }

// Number is general.file_type.
func (t FileType) Number() uint32 { return fileTypes[t].number }

// Tensor is the type of a matrix without a rule of its own.
func (t FileType) Tensor() gguf.Type { return fileTypes[t].tensor }

// Label is the type in file names, such as "Q8_0".
func (t FileType) Label() string { return fileTypes[t].label }

// Resolve decides Auto by the stored tensors in their order; other types stay.
func (t FileType) Resolve(tensors []view.Tensor) FileType {
	if t != Auto {
		return t
	}
	for i := range tensors {
		if len(tensors[i].Shape) < 2 {
			continue
		}
		switch tensors[i].DType {
		case safetensors.BF16:
			return BF16
		case safetensors.F16:
			return F16
		}
	}
	return F16
}

// keepF32 are the roles whose matrices llama.cpp wants in F32. Source: conversion/base.py, prepare_tensors.
var keepF32 = []string{
	"ffn_gate_inp", "ffn_gate_inp_shexp", "pos_embd", "token_types", "ssm_conv1d", "shortconv_conv",
	"time_mix_first", "time_mix_w1", "time_mix_w2", "time_mix_decay_w1", "time_mix_decay_w2", "time_mix_lerp_fused",
	"posnet_norm1", "posnet_norm2", "v_enc_embd_pos", "a_enc_embd_pos", "altup_correct_coef", "altup_predict_coef",
	"ssm_conv1d_q", "ssm_conv1d_k", "ssm_conv1d_v", "indexer_proj",
}

// ternaryF16 are the roles that a ternary file keeps in F16. Source: the same function.
var ternaryF16 = []string{"token_embd", "per_layer_token_embd", "output", "altup_router", "laurel_l", "laurel_r"}

// Force is a family's own decision on the type of tensors, by their GGUF names or by those that Names left them.
type Force struct {
	Match  Pattern // on the GGUF name; empty: any
	From   Pattern // on the name that rules began with; empty: any
	If     Expr
	Type   gguf.Type
	Follow bool // as the file's type says, even where the role would stay F32
}

// outputType decides a tensor's type.
func (b *Build) outputType(it Item) (gguf.Type, error) {
	name, block, shape := it.Name, it.Block, it.View.Shape
	if len(shape) <= 1 || hasSuffix(name, "_norm.weight") {
		return gguf.F32, nil
	}
	for _, f := range b.Arch.Force {
		ok, err := b.Truth(f.If)
		if err != nil {
			return 0, err
		}
		if !ok || f.Match != "" && !f.Match.Match(name) || f.From != "" && !f.From.Match(it.From) {
			continue
		}
		if f.Follow {
			return fit(b.Options.Type.Tensor(), shape), nil
		}
		return fit(f.Type, shape), nil
	}
	switch {
	case it.Type != nil:
		return fit(*it.Type, shape), nil
	case it.FP8 && (b.Options.FP8AsQ8 || b.Arch.FP8AsQ8):
		return fit(gguf.Q8_0, shape), nil
	}
	ternary := b.Options.Type == TQ1 || b.Options.Type == TQ2
	switch {
	case b.isAny(name, keepF32, block), !hasSuffix(name, ".weight", ".lora_a", ".lora_b"):
		return gguf.F32, nil
	case ternary && b.isAny(name, ternaryF16, block):
		return gguf.F16, nil
	}
	return fit(b.Options.Type.Tensor(), shape), nil
}

// fit falls back to F16 where rows are not whole blocks, as the reference does.
func fit(t gguf.Type, shape []int64) gguf.Type {
	if shape[len(shape)-1]%t.Block() != 0 {
		return gguf.F16
	}
	return t
}

func (b *Build) isAny(name string, roles []string, block int64) bool {
	for _, id := range roles {
		if b.names.Is(name, id, block) {
			return true
		}
	}
	return false
}
