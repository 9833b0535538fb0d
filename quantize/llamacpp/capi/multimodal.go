package capi

import "unsafe"

// Projector is an mtmd_context: a tower beside a model; 0 is none.
type Projector uintptr

// Bitmap is an mtmd_bitmap, a picture or a sound.
type Bitmap uintptr

// Chunks are an mtmd_input_chunks, text and pictures in the order in which a model meets them.
type Chunks uintptr

// ProjectorParams is struct mtmd_context_params. Start from DefaultParams.
type ProjectorParams struct {
	GPU          bool
	_            [7]bool
	Device       Device
	Timings      bool
	_            [3]bool
	Threads      int32
	ImageMarker  uintptr
	MediaMarker  uintptr
	Flash        Flash
	WarmUp       bool
	_            [3]bool
	MinTokens    int32
	MaxTokens    int32
	Observer     uintptr
	ObserverData uintptr
	BatchTokens  int32
	_            int32
	Progress     uintptr
	ProgressData uintptr
}

// inputText is struct mtmd_input_text.
type inputText struct {
	text    *byte
	length  uint64
	special bool
	parse   bool
	_       [6]bool
}

// Multimodal is a loaded libmtmd.
type Multimodal struct{ towers }

// towers are libmtmd's functions.
type towers struct {
	SetLog        func(callback, data uintptr)                                                                                   `c:"mtmd_log_set"`
	DefaultParams func() ProjectorParams                                                                                         `c:"mtmd_context_params_default"`
	Load          func(path string, m Model, p ProjectorParams) Projector                                                        `c:"mtmd_init_from_file"`
	Free          func(Projector)                                                                                                `c:"mtmd_free"`
	Sees          func(Projector) bool                                                                                           `c:"mtmd_support_vision"`
	Hears         func(Projector) bool                                                                                           `c:"mtmd_support_audio"`
	SampleRate    func(Projector) int32                                                                                          `c:"mtmd_get_audio_sample_rate"` // in Hz
	FreeBitmap    func(Bitmap)                                                                                                   `c:"mtmd_bitmap_free"`
	NewChunks     func() Chunks                                                                                                  `c:"mtmd_input_chunks_init"`
	FreeChunks    func(Chunks)                                                                                                   `c:"mtmd_input_chunks_free"`
	marker        func() string                                                                                                  `c:"mtmd_default_marker"`
	picture       func(w, h uint32, rgb *byte) Bitmap                                                                            `c:"mtmd_bitmap_init"`
	sound         func(n uint64, samples *float32) Bitmap                                                                        `c:"mtmd_bitmap_init_from_audio"`
	tokenize      func(p Projector, to Chunks, t *inputText, b *Bitmap, n uint64) int32                                          `c:"mtmd_tokenize"`
	count         func(Chunks) uint64                                                                                            `c:"mtmd_input_chunks_size"`
	chunk         func(c Chunks, i uint64) uintptr                                                                               `c:"mtmd_input_chunks_get"`
	chunkTokens   func(chunk uintptr) uint64                                                                                     `c:"mtmd_input_chunk_get_n_tokens"`
	evaluate      func(p Projector, c Context, in Chunks, past Position, s Sequence, batch int32, last bool, to *Position) int32 `c:"mtmd_helper_eval_chunks"`
}

// OpenMultimodal loads libmtmd at path.
func OpenMultimodal(path string) (*Multimodal, error) {
	m := new(Multimodal)
	if err := bind(path, &m.towers); err != nil {
		return nil, err
	}
	return m, nil
}

// Picture copies w x h pixels of red, green and blue; 0 where the library does not take it.
func (m *Multimodal) Picture(w, h int, rgb []byte) Bitmap {
	return m.picture(uint32(w), uint32(h), unsafe.SliceData(rgb))
}

// Sound copies samples of one channel, at the projector's rate.
func (m *Multimodal) Sound(samples []float32) Bitmap {
	return m.sound(uint64(len(samples)), unsafe.SliceData(samples))
}

// Tokenize fills chunks with a picture or sound between two texts; 0 is success.
func (m *Multimodal) Tokenize(p Projector, to Chunks, before string, b Bitmap, after string) int32 {
	text := before + m.marker() + after
	return m.tokenize(p, to, &inputText{text: cString(text), length: uint64(len(text)), special: true, parse: true}, &b, 1)
}

// Tokens is how much of a context the chunks take.
func (m *Multimodal) Tokens(c Chunks) int {
	n := 0
	for i := range m.count(c) {
		n += int(m.chunkTokens(m.chunk(c, i)))
	}
	return n
}

// Evaluate runs the chunks through tower and model from position 0, with the last position as output; 0 is success.
func (m *Multimodal) Evaluate(p Projector, c Context, in Chunks, batch int) int32 {
	return m.evaluate(p, c, in, 0, 0, int32(batch), true, new(Position))
}
