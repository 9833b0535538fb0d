package worker

import (
	"fmt"

	"github.com/hybridgroup/yzma/pkg/llama"

	"quern/quantize/llamacpp"
)

// adapter is a LoRA that is on a model. It goes with the model: llama_model_free frees it.
type adapter struct {
	handle llama.AdapterLora
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
		_ = llama.AdapterLoraFree(m.adapter.handle) // fails only for a zero handle
		m.adapter = adapter{}
	}
	if a.Path == "" {
		return llamacpp.Adapter{}, nil
	}
	h, err := llama.AdapterLoraInit(m.handle, a.Path)
	if err != nil || h == 0 {
		return nil, &llamacpp.Error{Fault: s.log.faultOf(), Op: "adapt", On: a.Path, Says: s.log.reason("llama.cpp does not put the adapter on this model"), Next: s.log.advice(), Err: nil}
	}
	m.adapter = adapter{h, a.Scale}
	info := llamacpp.Adapter{Invocation: int(llama.AdapterGetAloraNInvocationTokens(h))}
	info.Architecture, _ = llama.AdapterMetaValStr(h, "general.architecture")
	info.Name, _ = llama.AdapterMetaValStr(h, "general.name")
	return info, nil
}

// putOn sets the model's adapter in a context.
func (m *model) putOn(ctx llama.Context) error {
	if m.adapter.handle == 0 {
		return nil
	}
	if code := llama.SetAdaptersLora(ctx, []llama.AdapterLora{m.adapter.handle}, []float32{m.adapter.scale}); code != 0 {
		return fmt.Errorf("llama_set_adapters_lora failed with %d", code)
	}
	return nil
}
