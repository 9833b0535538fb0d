package arch

// Sarashina 2 Vision: a Llama under "llm."; the norm outside belongs to the images.

var _ = Register(Arch{
	Base:  llama,
	HF:    []string{"Sarashina2VisionForCausalLM"},
	Names: Rules{Drop("norm.*", "not part of the text model"), Strip("llm.")}.Also(llama.Names),
})
