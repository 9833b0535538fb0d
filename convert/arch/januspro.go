package arch

// Janus-Pro: a Llama with an encoder and a generator of images, which are left out.
//
// Source: llama.cpp v0.5.0, conversion/januspro.py: JanusProModel.

var _ = Register(Arch{
	Base:  llama,
	HF:    []string{"JanusForConditionalGeneration"},
	Names: Rules{Drop("model.{vision_model|aligner|vqmodel|generation_embeddings|generation_aligner|generation_head}.*", "not part of the text model")}.Also(llama.Names),
})
