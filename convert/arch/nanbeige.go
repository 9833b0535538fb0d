package arch

// Nanbeige 4.2: a Llama that runs its layers several times.
//
// Source: llama.cpp v0.5.0, conversion/nanbeige.py: NanbeigeModel.

var _ = Register(Arch{
	Base: llama,
	HF:   []string{"NanbeigeForCausalLM"},
	GGUF: "nanbeige",
	Keys: llama.Keys.Then(
		Set("num_loops", Choose(Is(loops, 0), 1, loops)),
		Set("skip_loop_final_norm", FlagOr("skip_loop_final_norm", false)),
	),
})

// loops is the number of runs; none stated, or less than one, is one.
var loops = Fn("num_loops, at least 1", func(e *Env) (any, error) {
	n, err := e.Int(Trunc(Or(Opt("num_loops"), 1)))
	return max(n, 1), err
})
