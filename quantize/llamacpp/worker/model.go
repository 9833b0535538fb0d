package worker

import (
	"fmt"
	"time"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/capi"

	"github.com/ebitengine/purego"
)

// model is a loaded file with the context that was last made for it.
type model struct {
	lib     *capi.Library
	handle  capi.Model
	vocab   capi.Vocab
	nVocab  int
	encoder bool
	bound   int // tokens for which there are learned positions; 0: no bound
	ctx     capi.Context
	made    contextKey // what ctx was made with
	pool    capi.ThreadPool
	adapter adapter // that every context of the model gets

	projector capi.Projector   // 0: none
	towers    *capi.Multimodal // what it was loaded with
}

// learned are the architectures that look positions up in a table of the training context's length (src/models of
// llama.cpp v0.5.0): a position beyond it aborts the process.
var learned = map[string]bool{"bert": true, "gpt2": true, "mpt": true, "starcoder": true}

// free releases context and weights; the slot may be used again.
func (m *model) free() {
	m.freeProjector()
	m.freeContext()
	if m.handle != 0 {
		m.lib.FreeModel(m.handle)
		m.handle = 0
	}
}

// freeContext detaches the pool first: a context touches its pool while it is freed.
func (m *model) freeContext() {
	if m.ctx != 0 {
		m.lib.DetachThreads(m.ctx)
		m.lib.FreeContext(m.ctx)
		m.ctx = 0
	}
	m.pool.Close()
	m.pool = capi.ThreadPool{}
}

// loadSteps is the scale of loading progress, which llama.cpp tells as a fraction.
const loadSteps = 1000

// load loads a file. The progress callback is the sign of life while weights are read, which takes minutes for large
// models on slow disks.
func (s *session) load(o llamacpp.ModelOptions) (any, error) {
	p := s.lib.DefaultModelParams()
	if o.CPUOnly {
		p.GPULayers = 0
	}
	p.VocabOnly, p.CheckTensors = o.VocabOnly, o.CheckTensors
	if o.NoMmap {
		p.LoadMode = capi.LoadPlain
	}
	p.Progress = s.loading()
	s.log.takeBuffers()
	start := time.Now()
	h := s.lib.LoadModel(o.Path, p)
	if h == 0 {
		return nil, &llamacpp.Error{Fault: s.log.faultOf(), Op: "load", On: o.Path, Says: s.log.reason("llama.cpp does not load the file"), Next: s.log.advice()}
	}
	m := &model{lib: s.lib, handle: h, vocab: s.lib.VocabOf(h)}
	m.nVocab = int(s.lib.TokenCount(m.vocab))
	m.encoder = !o.VocabOnly && s.lib.HasEncoder(h)
	info := s.describe(m, o.VocabOnly)
	info.LoadSeconds = time.Since(start).Seconds()
	info.Buffers = s.log.takeBuffers()
	info.Slot = s.keep(m)
	return info, nil
}

// loading is the C function that reports how much of a file is read. There is a single one, since C callbacks cannot be
// freed.
func (s *session) loading() uintptr {
	s.seen = -1
	if s.whileLoading == 0 {
		s.whileLoading = purego.NewCallback(func(done float32, _ uintptr) uintptr {
			if step := int(done * 100); step != s.seen {
				s.seen = step
				s.progress(int(done*loadSteps), loadSteps)
			}
			return 1 // go on
		})
	}
	return s.whileLoading
}

// keep puts a model into the first free slot.
func (s *session) keep(m *model) int {
	for i, old := range s.models {
		if old == nil {
			s.models[i] = m
			return i
		}
	}
	s.models = append(s.models, m)
	return len(s.models) - 1
}

// slot finds a model by its number; a number without one is the parent's mistake, not a crash.
func (s *session) slot(i int) (*model, error) {
	if i < 0 || i >= len(s.models) || s.models[i] == nil {
		return nil, fmt.Errorf("no model is loaded in slot %d", i)
	}
	return s.models[i], nil
}

func (s *session) unload(slot int) (any, error) {
	m, err := s.slot(slot)
	if err != nil {
		return nil, err
	}
	m.free()
	s.models[slot] = nil
	return nil, nil
}

// describe gathers what stages decide by. A vocabulary alone has no layers to ask about.
func (s *session) describe(m *model, vocabOnly bool) *llamacpp.Model {
	h := m.handle
	info := &llamacpp.Model{
		Description: s.lib.Description(h), Params: s.lib.Params(h), Bytes: s.lib.Bytes(h),
		TrainContext: int(s.lib.TrainContext(h)), Embedding: int(s.lib.OutputWidth(h)), Layers: int(s.lib.Layers(h)),
		Template: s.lib.NamedTemplate(h, ""), Rerank: s.lib.NamedTemplate(h, "rerank"),
		Vocab:   describeVocab(m),
		Pooling: "", Causal: true,
	}
	info.Architecture, _ = s.lib.Metadata(h, "general.architecture")
	if learned[info.Architecture] {
		m.bound = info.TrainContext
		info.Positions = m.bound
	}
	if p, ok := s.lib.Metadata(h, info.Architecture+".pooling_type"); ok {
		info.Pooling = poolingNumbers[p]
	}
	if c, ok := s.lib.Metadata(h, info.Architecture+".attention.causal"); ok {
		info.Causal = c != "false"
	}
	if vocabOnly {
		return info
	}
	info.Heads, info.HeadsKV = int(s.lib.Heads(h)), int(s.lib.HeadsKV(h))
	info.Classes = int(s.lib.Classes(h))
	info.Classifier = s.lib.ClassLabel(h, 0) != "" // arrays are not among the metadata that llama.cpp tells
	info.Encoder, info.Decoder = s.lib.HasEncoder(h), s.lib.HasDecoder(h)
	info.Recurrent, info.Hybrid, info.Diffusion = s.lib.IsRecurrent(h), s.lib.IsHybrid(h), s.lib.IsDiffusion(h)
	return info
}

// poolingNumbers are the file's numbers (llama.h, enum llama_pooling_type) as llama.cpp prints metadata.
var poolingNumbers = map[string]string{"0": "none", "1": "mean", "2": "cls", "3": "last", "4": "rank"}

var poolings = map[string]capi.Pooling{
	"none": capi.PoolingNone, "mean": capi.PoolingMean, "cls": capi.PoolingCLS, "last": capi.PoolingLast, "rank": capi.PoolingRank,
}

var vocabKinds = map[capi.VocabKind]string{
	capi.VocabNone: "none", capi.VocabSPM: "spm", capi.VocabBPE: "bpe", capi.VocabWPM: "wpm",
	capi.VocabUGM: "ugm", capi.VocabRWKV: "rwkv", capi.VocabPLaMo2: "plamo2",
}

// describeVocab lists the tokens at which llama.cpp stops: those of the metadata and those that it knows by their text.
func describeVocab(m *model) llamacpp.Vocab {
	v := llamacpp.Vocab{
		Kind: vocabKinds[m.lib.VocabKind(m.vocab)], Tokens: m.nVocab,
		BOS: m.lib.BOS(m.vocab), EOS: m.lib.EOS(m.vocab), EOT: m.lib.EOT(m.vocab), SEP: m.lib.SEP(m.vocab),
		AddBOS: m.lib.AddsBOS(m.vocab), AddEOS: m.lib.AddsEOS(m.vocab), AddSEP: m.lib.AddsSEP(m.vocab),
	}
	if v.Kind == "none" || v.Kind == "" {
		return v
	}
	for id := range capi.Token(m.nVocab) {
		if m.lib.Ends(m.vocab, id) {
			plain := m.lib.TokenAttr(m.vocab, id)&capi.AttrNormal != 0
			v.Ends = append(v.Ends, llamacpp.NamedID{ID: id, Text: m.lib.TokenText(m.vocab, id), Plain: plain})
		}
	}
	return v
}

func (s *session) tokenize(a llamacpp.TokenizeArgs) (any, error) {
	m, err := s.slot(a.Slot)
	if err != nil {
		return nil, err
	}
	if len(a.Text) > llamacpp.MaxFrame {
		return nil, fmt.Errorf("text of %d bytes, at most %d are tokenized", len(a.Text), llamacpp.MaxFrame)
	}
	return s.lib.Tokenize(m.vocab, a.Text, a.Special, a.Parse)
}

func (s *session) detokenize(a llamacpp.DetokenizeArgs) (any, error) {
	m, err := s.slot(a.Slot)
	if err != nil {
		return nil, err
	}
	if err := m.check(a.Tokens); err != nil {
		return nil, err
	}
	return s.lib.Detokenize(m.vocab, a.Tokens, a.Render)
}

// check refuses ids outside the vocabulary: llama.cpp would abort or read beyond its tables.
func (m *model) check(ids []int32) error {
	for i, id := range ids {
		if id < 0 || int(id) >= m.nVocab {
			return fmt.Errorf("token %d of the input is %d, the vocabulary has %d", i, id, m.nVocab)
		}
	}
	return nil
}

// prompt renders one user message by the file's own template. Where llama.cpp does not know that, the prompt is empty,
// which is no error.
func (s *session) prompt(a llamacpp.PromptArgs) (any, error) {
	m, err := s.slot(a.Slot)
	if err != nil {
		return nil, err
	}
	tmpl := s.lib.ChatTemplate(m.handle, nil)
	if tmpl == "" {
		return "", nil
	}
	return s.lib.UserPrompt(tmpl, a.User), nil
}

// usage tells what this process holds, before it is gone.
func (s *session) usage(struct{}) (any, error) {
	return llamacpp.Usage{PeakRSS: peakRSS(), Buffers: s.log.takeBuffers()}, nil
}
