package worker

import (
	"fmt"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/capi"
)

// project loads a projector beside a model, with the multimodal library of the runtime.
func (s *session) project(a llamacpp.ProjectorArgs) (any, error) {
	m, err := s.slot(a.Slot)
	if err != nil {
		return nil, err
	}
	if s.multimodal == nil {
		path := (&llamacpp.Runtime{Dir: s.dir}).Path("mtmd")
		if s.multimodal, err = capi.OpenMultimodal(path); err != nil {
			return nil, &llamacpp.Error{Fault: llamacpp.Mismatch, Op: "project", On: path, Says: "the multimodal library does not load", Err: err}
		}
		s.multimodal.SetLog(s.log.callback, 0)
	}
	m.freeProjector()
	p := s.multimodal.DefaultParams()
	p.GPU, p.Timings, p.WarmUp = false, false, false
	if p.Threads = int32(a.Threads); a.Threads <= 0 {
		p.Threads = int32(physicalCores())
	}
	m.towers = s.multimodal
	if m.projector = m.towers.Load(a.Path, m.handle, p); m.projector == 0 {
		return nil, &llamacpp.Error{Fault: s.log.faultOf(), Op: "project", On: a.Path, Says: s.log.reason("llama.cpp does not load the projector beside this model"), Next: s.log.advice()}
	}
	info := llamacpp.Projector{Vision: m.towers.Sees(m.projector), Audio: m.towers.Hears(m.projector)}
	if info.Audio {
		info.Rate = int(m.towers.SampleRate(m.projector))
	}
	return info, nil
}

func (m *model) freeProjector() {
	if m.projector != 0 {
		m.towers.Free(m.projector)
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
	bitmap, err := bitmapOf(m.towers, a)
	if err != nil {
		return nil, err
	}
	defer m.towers.FreeBitmap(bitmap)
	chunks := m.towers.NewChunks()
	defer m.towers.FreeChunks(chunks)
	if code := m.towers.Tokenize(m.projector, chunks, a.Before, bitmap, a.After); code != 0 {
		return nil, &llamacpp.Error{Fault: s.log.faultOf(), Op: "perceive", Says: s.log.reason(fmt.Sprintf("mtmd_tokenize failed with %d", code)), Next: s.log.advice()}
	}
	tokens := m.towers.Tokens(chunks)
	o := a.ContextOptions
	o.Context = max(o.Context, tokens+1)
	o.UBatch = max(o.UBatch, tokens) // a picture is one physical batch where attention looks both ways
	o.Batch = max(o.Batch, o.UBatch)
	ctx, err := s.context(m, contextKey{ContextOptions: o})
	if err != nil {
		return nil, err
	}
	if code := m.towers.Evaluate(m.projector, ctx, chunks, o.Batch); code != 0 {
		return nil, &llamacpp.Error{Fault: s.log.faultOf(), Op: "perceive", Says: s.log.reason(fmt.Sprintf("mtmd_helper_eval_chunks failed with %d", code)), Next: s.log.advice()}
	}
	logits := s.lib.Logits(ctx, -1, m.nVocab)
	if logits == nil {
		return nil, fmt.Errorf("llama.cpp has no logits after the picture")
	}
	return llamacpp.Perceived{Tokens: tokens}, s.floats(logits)
}

// bitmapOf copies a picture or a sound into llama.cpp's memory.
func bitmapOf(lib *capi.Multimodal, a llamacpp.PerceiveArgs) (capi.Bitmap, error) {
	var b capi.Bitmap
	switch {
	case len(a.Sound) > 0 && len(a.Sound) <= maxSamples:
		b = lib.Sound(a.Sound)
	case a.Width > 0 && a.Height > 0 && a.Width <= maxSide && a.Height <= maxSide && len(a.Pixels) == 3*a.Width*a.Height:
		b = lib.Picture(a.Width, a.Height, a.Pixels)
	default:
		return 0, fmt.Errorf("neither a picture of %d x %d pixels in %d bytes nor a sound of %d samples", a.Width, a.Height, len(a.Pixels), len(a.Sound))
	}
	if b == 0 {
		return 0, fmt.Errorf("llama.cpp does not take the picture or sound")
	}
	return b, nil
}
