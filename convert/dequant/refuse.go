package dequant

import (
	"slices"
	"strings"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/convert/safetensors"
)

// spoken are methods by the names that people know them by; others are named as config.json does.
var spoken = map[string]string{"awq": "AWQ", "gptq": "GPTQ", "hqq": "HQQ", "aqlm": "AQLM", "eetq": "EETQ", "auto-round": "AutoRound", "exl2": "ExLlama 2",
	"exl3": "ExLlama 3", "fbgemm_fp8": "FBGEMM", "mxfp4": "MXFP4", "vptq": "VPTQ", "higgs": "HIGGS", "quanto": "Quanto", "torchao": "TorchAO",
	"spqr": "SpQR", "quark": "Quark", "fp_quant": "FP-Quant"}

// refuse says that a method is not read, and what to convert instead.
func refuse(method, original string) error {
	name := spoken[method]
	if name == "" {
		name = method
	}
	return &fault.Unsupported{On: "config.json: quantization_config", Says: "weights quantized by " + name + " are not read", Next: madeFrom(original)}
}

func madeFrom(original string) string {
	if original == "" {
		return "convert the checkpoint that it was made from"
	}
	return "convert " + original + ", which it was made from"
}

// unnamed refuses weights that are quantized though no method is named: MLX's, and bitsandbytes' of older tools.
func (s *Set) unnamed(q config.Object, original string) error {
	if q.True("load_in_4bit", "load_in_8bit") || q.True("load_in_8bit") {
		return refuse("bitsandbytes", original)
	}
	mlx := slices.ContainsFunc(s.list, func(t Tensor) bool {
		base, ok := strings.CutSuffix(t.Name, ".scales")
		if !ok || t.View.DType == safetensors.U32 {
			return false
		}
		w, ok := s.Find(base + ".weight")
		return ok && w.View.DType == safetensors.U32
	})
	if mlx {
		return refuse("MLX", original)
	}
	return nil
}
