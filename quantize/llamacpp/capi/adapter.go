package capi

// Adapter is a llama_adapter_lora; 0 is none. It goes with its model: llama_model_free frees it.
type Adapter uintptr

// adapters are the functions of LoRA adapters.
type adapters struct {
	LoadAdapter          func(m Model, path string) Adapter                           `c:"llama_adapter_lora_init"`
	FreeAdapter          func(Adapter)                                                `c:"llama_adapter_lora_free"`
	InvocationTokens     func(Adapter) uint64                                         `c:"llama_adapter_get_alora_n_invocation_tokens"`
	WriteAdapterMetadata func(a Adapter, key string, buf *byte, size uint64) int32    `c:"llama_adapter_meta_val_str"`
	setAdapters          func(c Context, a *Adapter, n uint64, scales *float32) int32 `c:"llama_set_adapters_lora"`
}

// AdapterMetadata is a scalar value of the adapter's file; false where there is no such key.
func (l *Library) AdapterMetadata(a Adapter, key string) (string, bool) {
	return filled(func(buf *byte, size uint64) int32 { return l.WriteAdapterMetadata(a, key, buf, size) })
}

// Adapt makes a context compute with an adapter; 0 is success.
func (l *Library) Adapt(c Context, a Adapter, scale float32) int32 {
	return l.setAdapters(c, &a, 1, &scale)
}
