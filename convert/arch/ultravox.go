package arch

// Ultravox is an encoder of sound for a text model of its own name: there is nothing to convert here but a projector.
//
// Source: llama.cpp v0.5.0, conversion/ultravox.py: UltravoxModel.

import "quern/convert/vocab"

const noText = "the checkpoint has no text model: convert the one that its config.json names, and this one as a projector"

var _ = Register(Arch{
	HF:     []string{"UltravoxModel"},
	GGUF:   "llama",
	Note:   "as a projector only: " + noText,
	Config: Keys{Fail(Const(true), noText)},
	Keys:   TextKeys,
	Vocab:  vocab.GPT2,
})
