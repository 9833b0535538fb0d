package llamacpp

import "context"

// AdapterArgs are the arguments of Adapt.
type AdapterArgs struct {
	Slot  int     `json:"slot"`
	Path  string  `json:"path"`  // a LoRA file; "" takes an adapter off again
	Scale float32 `json:"scale"` // of its change; 1 is as it was trained
}

// Adapter is what llama.cpp tells of a LoRA file that is on a model.
type Adapter struct {
	Architecture string `json:"architecture"`
	Name         string `json:"name"`       // general.name; may be empty
	Invocation   int    `json:"invocation"` // tokens after which it is to be switched on; 0: it always works
}

// Adapt puts a LoRA on a loaded model, in place of one that is there. All later calls with that slot go through it.
func (c *Child) Adapt(ctx context.Context, a AdapterArgs) (*Adapter, error) {
	return request[Adapter](ctx, c, "adapt", a, nil, nil)
}
