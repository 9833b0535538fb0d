package arch

// CogVLM: a Llama with a second set of matrices for the image's tokens, under roles of their own.
//
// Source: llama.cpp v0.5.0, conversion/cogvlm.py: CogVLMModel.

var _ = Register(Arch{Base: llama, HF: []string{"CogVLMForCausalLM"}, GGUF: "cogvlm"})
