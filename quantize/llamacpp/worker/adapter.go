package worker

import (
	"fmt"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/capi"
)

// adapter is a LoRA that is on a model. It goes with the model: llama_model_free frees it.
type adapter struct {
	handle capi.Adapter
	scale  float32
}

// adapt puts a LoRA on a model or takes it off. Contexts are made anew: a graph is built for the adapters of its context.
func (s *session) adapt(a llamacpp.AdapterArgs) (any, error) {
	m, err := s.slot(a.Slot)
	if err != nil {
		return nil, err
	}
	m.freeContext()
	if m.adapter.handle != 0 {
		s.lib.FreeAdapter(m.adapter.handle)
		m.adapter = adapter{}
	}
	if a.Path == "" {
		return llamacpp.Adapter{}, nil
	}
	h := s.lib.LoadAdapter(m.handle, a.Path)
	if h == 0 {
		return nil, &llamacpp.Error{Fault: s.log.faultOf(), Op: "adapt", On: a.Path, Says: s.log.reason("llama.cpp does not put the adapter on this model"), Next: s.log.advice()}
	}
	m.adapter = adapter{h, a.Scale}
	info := llamacpp.Adapter{Invocation: int(s.lib.InvocationTokens(h))}
	info.Architecture, _ = s.lib.AdapterMetadata(h, "general.architecture")
	info.Name, _ = s.lib.AdapterMetadata(h, "general.name")
	return info, nil
}

// putOn sets the model's adapter in a context.
func (m *model) putOn(ctx capi.Context) error {
	if m.adapter.handle == 0 {
		return nil
	}
	if code := m.lib.Adapt(ctx, m.adapter.handle, m.adapter.scale); code != 0 {
		return fmt.Errorf("llama_set_adapters_lora failed with %d", code)
	}
	return nil
}
