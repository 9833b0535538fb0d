package arch

// The vision part of CogVLM, whose names are in the tables.
//
// Source: llama.cpp v0.5.0, conversion/cogvlm.py: CogVLMVisionModel.

var _ = Register(Arch{
	Base:  visionTower,
	HF:    []string{"CogVLMForCausalLM"},
	Names: Rules{Only("model.vision.*")}.Also(ProjectorRest),
	Keys: visionTower.Keys.Then(
		Set("vision.attention.layer_norm_epsilon", CfgOr("layer_norm_eps", 1e-6)),
		Set("projector_type", "cogvlm"),
	),
})
