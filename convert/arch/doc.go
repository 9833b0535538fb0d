// Package arch knows architectures: how each class of checkpoints becomes a GGUF file. Everything is data where it can be.
//
// # An entry
//
// A family is a file; an architecture is one Arch in it, registered in a package variable:
//
//	var _ = Register(Arch{
//		HF:    []string{"OlmoeForCausalLM"},
//		GGUF:  "olmoe",
//		Names: TextNames,
//		Tensors: Rules{
//			StackExperts("mlp.experts", Experts, "down_proj", "gate_proj", "up_proj"),
//		},
//		Keys:  TextKeys.Then(Set("attention.layer_norm_rms_epsilon", Const(1e-5))),
//		Vocab: vocab.GPT2,
//	})
//
// One that is another with differences names it as Base and gives what differs: an empty field is the base's, a given one
// replaces it, and the base's lists are at hand to be extended (llama.Keys.Then(...), Rules{...}.Also(llama.Tensors)).
//
// # Tensors
//
// The tables say what a tensor is. tables/tensors.txt lists every role (attn_q, ffn_gate_exp, ...), its GGUF name and all names
// that checkpoints give it, for all families at once; tables/roles.txt lists the roles of an architecture. So a tensor with an
// ordinary name needs nothing in an entry, and a name in a checkpoint is never spelled twice. Rules are for the rest:
//
//	Names    see the names in the checkpoint, before any order: Rename, Strip, Prefix, Drop. Usually Rules{...}.Also(TextNames).
//	Tensors  see tensors in order: Rename, Drop, On(pattern, transforms...), Split, SplitGroups, Stack, StackExperts, Concat, Code.
//
// Every rule whose pattern matches is taken, in order, and what it makes goes on to the next rules; a name that a rule makes may
// be a checkpoint's ("gate_up_proj=>gate_proj") or a role ("@attn_q", with the block's number and the tensor's .weight or .bias).
// At the end the tables name what is left. Every tensor of the checkpoint is mapped, dropped with a reason, or an error with the
// nearest known name. A rule that the reference's subclass has goes before those of its base class.
//
// Transforms: Rotary Plus Times Over NegExp Exp Transposed Permute Reshape Squeeze SqueezeAll Unsqueeze Keep Every FirstRows PadRows
// Ungroup, and View for one in code. They are views: nothing is read, whole tensors are never held. They keep the stored type;
// those that compute widen to F32 first, except F16, as the reference does.
//
// More: Copy writes a tensor twice, DropZero drops zeros and refuses others, Given makes rules conditional, Except narrows one;
// Block and AtBlock are the number of the block at hand and the element of a list for it. Code gets the Build: Last for outputs
// that come at the end, Emit for outputs of a fixed type or with bytes of their own, Ints and Floats to read a small tensor while
// the file is planned, Scratch to keep things between tensors, Vocabulary for the number of tokens, Warn. Item.Final keeps a name
// that no role has.
//
// # Keys
//
// Keys are steps in order: Set(name, value) writes, Let(name, value) changes the configuration for the steps behind it, Fail
// refuses, Do runs code, When makes steps conditional. TextKeys is what most families begin with; it ends with FileTypeKey.
// tables/keys.txt knows the kind of every key, so that 4096.0 under an integer key is an error as it is in the reference.
// Values are expressions over the completed configuration: Cfg (needed; the first of several keys), Opt (nil, and no key is
// written, where it is absent or null), CfgOr (default where absent), Else (default where null), Or (where false), In, Rope, Mul,
// FloorDiv, HeadDim, LayersOf, Choose, Fn ... Integers stay integers, floats floats.
//
// # Projectors
//
// The vision or audio part of a checkpoint is an entry of its own in a file clip_<family>.go: Base is visionTower, audioTower or
// bothTowers, which have the general keys and are GGUF's "clip". Expressions see the tower's part of the configuration (Cfg is the
// vision tower's, or else the audio tower's; OfRoot, OfVision, OfAudio, OfProcessor ask elsewhere); Let and LetAudio change it.
// Names usually begin with Only(...) and end with ProjectorRest; Force ends with PatchTypes. Key names go without "clip.".
//
// # Order
//
// Generated tensors (Extra) come first, then the checkpoint's by file and name; joined ones where their last member arrives.
// A key that is set again keeps its first place. Opening and Early keys stand right after general.architecture.
//
// # Checks
//
// Check compares main tensors with the keys, and blocks with each other, before anything is written. An entry whose matrices are
// not what the general keys say names their roles in Odd; one whose blocks differ on purpose sets Uneven.
//
// Held by tests: no name, role or key in an entry that the tables do not know (TestRegistry), the tables agree with themselves
// (TestTables), rules print (TestRules); convert's TestCases compares whole files with the reference's.
package arch
