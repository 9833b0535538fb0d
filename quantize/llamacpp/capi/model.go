package capi

// Model is a llama_model; 0 is none.
type Model uintptr

// ModelParams is struct llama_model_params. Start from DefaultModelParams: fields that quern does not set keep the
// library's values.
type ModelParams struct {
	Devices         uintptr
	BufferOverrides uintptr
	GPULayers       int32 // negative: all
	SplitMode       int32
	LoadMode        int32
	LazyMode        int32
	MainGPU         int32
	_               int32
	TensorSplit     uintptr
	Progress        uintptr // bool (float done, void *), false stops the loading
	ProgressData    uintptr
	Overrides       uintptr
	VocabOnly       bool
	CheckTensors    bool
	ExtraBuffers    bool
	NoHost          bool
	NoAlloc         bool
	PredictionHeads bool
	_               [2]bool
}

// LoadPlain is the load mode that reads the file, without a memory map (LLAMA_LOAD_MODE_NONE).
const LoadPlain = 0

// models are the functions that load a model and tell about it.
type models struct {
	BackendInit        func()                                                                      `c:"llama_backend_init"`
	SystemInfo         func() string                                                               `c:"llama_print_system_info"`
	SetLog             func(callback, data uintptr)                                                `c:"llama_log_set"`
	DefaultModelParams func() ModelParams                                                          `c:"llama_model_default_params"`
	LoadModel          func(path string, p ModelParams) Model                                      `c:"llama_model_load_from_file"`
	FreeModel          func(Model)                                                                 `c:"llama_model_free"`
	VocabOf            func(Model) Vocab                                                           `c:"llama_model_get_vocab"`
	HasEncoder         func(Model) bool                                                            `c:"llama_model_has_encoder"`
	HasDecoder         func(Model) bool                                                            `c:"llama_model_has_decoder"`
	IsRecurrent        func(Model) bool                                                            `c:"llama_model_is_recurrent"`
	IsHybrid           func(Model) bool                                                            `c:"llama_model_is_hybrid"`
	IsDiffusion        func(Model) bool                                                            `c:"llama_model_is_diffusion"`
	StartToken         func(Model) Token                                                           `c:"llama_model_decoder_start_token"`
	TrainContext       func(Model) int32                                                           `c:"llama_model_n_ctx_train"`
	OutputWidth        func(Model) int32                                                           `c:"llama_model_n_embd_out"`
	Layers             func(Model) int32                                                           `c:"llama_model_n_layer"`
	Heads              func(Model) int32                                                           `c:"llama_model_n_head"`
	HeadsKV            func(Model) int32                                                           `c:"llama_model_n_head_kv"`
	Classes            func(Model) uint32                                                          `c:"llama_model_n_cls_out"`
	ClassLabel         func(m Model, i uint32) string                                              `c:"llama_model_cls_label"`
	Params             func(Model) uint64                                                          `c:"llama_model_n_params"`
	Bytes              func(Model) uint64                                                          `c:"llama_model_size"`
	ChatTemplate       func(m Model, name *byte) string                                            `c:"llama_model_chat_template"`
	ApplyTemplate      func(t string, m *Message, n uint64, ask bool, buf *byte, size int32) int32 `c:"llama_chat_apply_template"`
	WriteDescription   func(m Model, buf *byte, size uint64) int32                                 `c:"llama_model_desc"`
	WriteMetadata      func(m Model, key string, buf *byte, size uint64) int32                     `c:"llama_model_meta_val_str"`
}

// Description is llama.cpp's own short name of a model: architecture, size and type.
func (l *Library) Description(m Model) string {
	s, _ := filled(func(buf *byte, size uint64) int32 { return l.WriteDescription(m, buf, size) })
	return s
}

// Metadata is a scalar value of the file as llama.cpp prints it; false where there is no such key.
func (l *Library) Metadata(m Model, key string) (string, bool) {
	return filled(func(buf *byte, size uint64) int32 { return l.WriteMetadata(m, key, buf, size) })
}

// NamedTemplate is a template of the file: the chat's for no name, "rerank" and others; "" where there is none.
func (l *Library) NamedTemplate(m Model, name string) string {
	if name == "" {
		return l.ChatTemplate(m, nil)
	}
	return l.ChatTemplate(m, cString(name))
}

// Message is struct llama_chat_message: two C strings.
type Message struct{ role, content *byte }

// maxPrompt bounds a rendered chat prompt, in bytes.
const maxPrompt = 1 << 20

// UserPrompt renders one user message by a template, with the words that ask for an answer. llama.cpp's C interface
// recognises known templates by their text and has no Jinja engine: an unknown one gives an empty prompt.
func (l *Library) UserPrompt(template, text string) string {
	message := Message{cString("user"), cString(text)}
	buf := make([]byte, len(text)+4096)
	for range 2 {
		n := l.ApplyTemplate(template, &message, 1, true, &buf[0], int32(len(buf)))
		switch {
		case n <= 0 || n > maxPrompt:
			return ""
		case int(n) <= len(buf):
			return string(buf[:n])
		}
		buf = make([]byte, n)
	}
	return ""
}

// cString is a copy that ends with NUL, in memory that Go's collector keeps as long as the pointer.
func cString(s string) *byte {
	b := make([]byte, len(s)+1)
	copy(b, s)
	return &b[0]
}
