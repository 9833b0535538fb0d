package arch

// Sarashina 2 Vision: a Llama under "llm."; the norm outside belongs to the images.
//
// Source: llama.cpp v0.5.0, conversion/sarashina2.py: Sarashina2VLTextModel.

var _ = Register(Arch{
	Base:  llama,
	HF:    []string{"Sarashina2VisionForCausalLM"},
	Names: Rules{Drop("norm.*", "not part of the text model"), Strip("llm.")}.Also(llama.Names),
})
