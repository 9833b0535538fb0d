package worker

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/hybridgroup/yzma/pkg/llama"
	"github.com/hybridgroup/yzma/pkg/mtmd"

	"quern/quantize/llamacpp"
)

// project loads a projector beside a model, with the multimodal library of the runtime.
func (s *session) project(a llamacpp.ProjectorArgs) (any, error) {
	m, err := s.slot(a.Slot)
	if err != nil {
		return nil, err
	}
	if !s.multimodal {
		if err := mtmd.Load(s.lib.dir); err != nil {
			return nil, &llamacpp.Error{Fault: llamacpp.Mismatch, Op: "project", On: s.lib.dir, Says: "the multimodal library does not load", Err: err}
		}
		mtmd.LogSet(s.log.callback)
		s.multimodal = true
	}
	m.freeProjector()
	p := mtmd.ContextParamsDefault()
	p.UseGPU, p.PrintTimings, p.Warmup = false, false, false
	if p.Threads = int32(a.Threads); a.Threads <= 0 {
		p.Threads = int32(physicalCores())
	}
	if m.projector, err = mtmd.InitFromFile(a.Path, m.handle, p); err != nil {
		return nil, &llamacpp.Error{Fault: s.log.faultOf(), Op: "project", On: a.Path, Says: s.log.reason("llama.cpp does not load the projector beside this model"), Next: s.log.advice()}
	}
	info := llamacpp.Projector{Vision: mtmd.SupportVision(m.projector), Audio: mtmd.SupportAudio(m.projector)}
	if info.Audio {
		info.Rate = mtmd.GetAudioSampleRate(m.projector)
	}
	return info, nil
}

func (m *model) freeProjector() {
	if m.projector != 0 {
		_ = mtmd.Free(m.projector) // fails only for a zero handle
		m.projector = 0
	}
}

// maxSide and maxSamples bound what a model is shown.
const (
	maxSide    = 4096    // pixels
	maxSamples = 1 << 22 // of sound
)

// perceive shows a picture or plays a sound, within text, and sends the logits after it.
func (s *session) perceive(a llamacpp.PerceiveArgs) (any, error) {
	m, err := s.slot(a.Slot)
	if err != nil {
		return nil, err
	}
	if m.projector == 0 {
		return nil, fmt.Errorf("no projector is loaded beside the model in slot %d", a.Slot)
	}
	bitmap, err := bitmapOf(a)
	if err != nil {
		return nil, err
	}
	defer mtmd.BitmapFree(bitmap)
	chunks := mtmd.InputChunksInit()
	defer mtmd.InputChunksFree(chunks)
	text := mtmd.NewInputText(a.Before+mtmd.DefaultMarker()+a.After, true, true)
	if code := mtmd.Tokenize(m.projector, chunks, text, []mtmd.Bitmap{bitmap}); code != 0 {
		return nil, &llamacpp.Error{Fault: s.log.faultOf(), Op: "perceive", Says: s.log.reason(fmt.Sprintf("mtmd_tokenize failed with %d", code)), Next: s.log.advice()}
	}
	runtime.KeepAlive(text)
	tokens := 0
	for i := range mtmd.InputChunksSize(chunks) {
		tokens += int(mtmd.InputChunkGetNTokens(mtmd.InputChunksGet(chunks, i)))
	}
	o := a.ContextOptions
	o.Context = max(o.Context, tokens+1)
	o.UBatch = max(o.UBatch, tokens) // a picture is one physical batch where attention looks both ways
	o.Batch = max(o.Batch, o.UBatch)
	ctx, err := s.context(m, contextKey{ContextOptions: o})
	if err != nil {
		return nil, err
	}
	var past llama.Pos
	if code := mtmd.HelperEvalChunks(m.projector, ctx, chunks, 0, 0, int32(o.Batch), true, &past); code != 0 {
		return nil, &llamacpp.Error{Fault: s.log.faultOf(), Op: "perceive", Says: s.log.reason(fmt.Sprintf("mtmd_helper_eval_chunks failed with %d", code)), Next: s.log.advice()}
	}
	logits, err := llama.GetLogitsIth(ctx, -1, m.nVocab)
	if err != nil || logits == nil {
		return nil, fmt.Errorf("llama.cpp has no logits after the picture")
	}
	return llamacpp.Perceived{Tokens: tokens}, s.floats(logits)
}

// bitmapOf copies a picture or a sound into llama.cpp's memory.
func bitmapOf(a llamacpp.PerceiveArgs) (mtmd.Bitmap, error) {
	var b mtmd.Bitmap
	switch {
	case len(a.Sound) > 0 && len(a.Sound) <= maxSamples:
		b = mtmd.BitmapInitFromAudio(uint64(len(a.Sound)), unsafe.SliceData(a.Sound))
	case a.Width > 0 && a.Height > 0 && a.Width <= maxSide && a.Height <= maxSide && len(a.Pixels) == 3*a.Width*a.Height:
		b = mtmd.BitmapInit(uint32(a.Width), uint32(a.Height), uintptr(unsafe.Pointer(unsafe.SliceData(a.Pixels))))
		runtime.KeepAlive(a.Pixels)
	default:
		return 0, fmt.Errorf("neither a picture of %d x %d pixels in %d bytes nor a sound of %d samples", a.Width, a.Height, len(a.Pixels), len(a.Sound))
	}
	if b == 0 {
		return 0, fmt.Errorf("llama.cpp does not take the picture or sound")
	}
	return b, nil
}
