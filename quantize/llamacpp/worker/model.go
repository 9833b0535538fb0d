package worker

import (
	"fmt"
	"time"

	"github.com/hybridgroup/yzma/pkg/llama"
	"github.com/hybridgroup/yzma/pkg/mtmd"

	"quern/quantize/llamacpp"
)

// model is a loaded file with the context that was last made for it.
type model struct {
	handle  llama.Model
	vocab   llama.Vocab
	nVocab  int
	encoder bool
	bound   int // tokens for which there are learned positions; 0: no bound
	ctx     llama.Context
	made    contextKey // what ctx was made with
	pool    threadPool
	adapter adapter // that every context of the model gets

	projector mtmd.Context // 0: none
}

// learned are the architectures that look positions up in a table of the training context's length (src/models of
// llama.cpp v0.5.0): a position beyond it aborts the process.
var learned = map[string]bool{"bert": true, "gpt2": true, "mpt": true, "starcoder": true}

// free releases context and weights; the slot may be used again.
func (m *model) free() {
	m.freeProjector()
	m.freeContext()
	if m.handle != 0 {
		_ = llama.ModelFree(m.handle) // fails only for a zero handle
		m.handle = 0
	}
}

// freeContext detaches the pool first: a context touches its pool while it is freed.
func (m *model) freeContext() {
	if m.ctx != 0 {
		llama.DetachThreadpool(m.ctx)
		_ = llama.Free(m.ctx) // fails only for a zero handle
		m.ctx = 0
	}
	m.pool.close()
	m.pool = threadPool{}
}

// loadSteps is the scale of loading progress, which llama.cpp tells as a fraction.
const loadSteps = 1000

// load loads a file. The progress callback is the sign of life while weights are read, which takes minutes for large
// models on slow disks.
func (s *session) load(o llamacpp.ModelOptions) (any, error) {
	p := llama.ModelDefaultParams()
	if o.CPUOnly {
		p.NGpuLayers = 0
	}
	p.VocabOnly = flag(o.VocabOnly)
	p.CheckTensors = flag(o.CheckTensors)
	if o.NoMmap {
		p.LoadMode = llama.LoadModeNone
	}
	seen := -1
	p.SetProgressCallback(func(done float32, _ uintptr) uint8 {
		if step := int(done * 100); step != seen {
			seen = step
			s.progress(int(done*loadSteps), loadSteps)
		}
		return 1
	})
	s.log.takeBuffers()
	start := time.Now()
	h, err := llama.ModelLoadFromFile(o.Path, p)
	if err != nil {
		return nil, &llamacpp.Error{Fault: s.log.faultOf(), Op: "load", On: o.Path, Says: s.log.reason("llama.cpp does not load the file"), Next: s.log.advice(), Err: nil}
	}
	m := &model{handle: h, vocab: llama.ModelGetVocab(h)}
	m.nVocab = int(llama.VocabNTokens(m.vocab))
	m.encoder = !o.VocabOnly && llama.ModelHasEncoder(h)
	info := s.describe(m, o.VocabOnly)
	info.LoadSeconds = time.Since(start).Seconds()
	info.Buffers = s.log.takeBuffers()
	info.Slot = s.keep(m)
	return info, nil
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
		Description: llama.ModelDesc(h), Params: llama.ModelNParams(h), Bytes: llama.ModelSize(h),
		TrainContext: int(llama.ModelNCtxTrain(h)), Embedding: int(llama.ModelNEmbdOut(h)), Layers: int(llama.ModelNLayer(h)),
		Template: llama.ModelChatTemplate(h, ""),
		Vocab:    describeVocab(m),
		Pooling:  "", Causal: true,
	}
	info.Architecture, _ = llama.ModelMetaValStr(h, "general.architecture")
	if learned[info.Architecture] {
		m.bound = info.TrainContext
		info.Positions = m.bound
	}
	if p, ok := llama.ModelMetaValStr(h, info.Architecture+".pooling_type"); ok {
		info.Pooling = poolingNumbers[p]
	}
	if c, ok := llama.ModelMetaValStr(h, info.Architecture+".attention.causal"); ok {
		info.Causal = c != "false"
	}
	if vocabOnly {
		return info
	}
	info.Heads, info.HeadsKV = int(llama.ModelNHead(h)), int(llama.ModelNHeadKV(h))
	info.Classes = int(llama.ModelNClsOut(h))
	info.Classifier = llama.ModelClsLabel(h, 0) != "" // arrays are not among the metadata that llama.cpp tells
	info.Encoder, info.Decoder = llama.ModelHasEncoder(h), llama.ModelHasDecoder(h)
	info.Recurrent, info.Hybrid, info.Diffusion = llama.ModelIsRecurrent(h), llama.ModelIsHybrid(h), llama.ModelIsDiffusion(h)
	return info
}

// poolingNumbers are the file's numbers (llama.h, enum llama_pooling_type) as llama.cpp prints metadata.
var poolingNumbers = map[string]string{"0": "none", "1": "mean", "2": "cls", "3": "last", "4": "rank"}

var poolings = map[string]llama.PoolingType{
	"none": llama.PoolingTypeNone, "mean": llama.PoolingTypeMean, "cls": llama.PoolingTypeCLS, "last": llama.PoolingTypeLast, "rank": llama.PoolingTypeRank,
}

var vocabKinds = map[llama.VocabType]string{
	llama.VocabTypeNone: "none", llama.VocabTypeSPM: "spm", llama.VocabTypeBPE: "bpe", llama.VocabTypeWPM: "wpm",
	llama.VocabTypeUGM: "ugm", llama.VocabTypeRWKV: "rwkv", llama.VocabTypePLAMO2: "plamo2",
}

// describeVocab lists the tokens at which llama.cpp stops: those of the metadata and those that it knows by their text.
func describeVocab(m *model) llamacpp.Vocab {
	v := llamacpp.Vocab{
		Kind: vocabKinds[llama.GetVocabType(m.vocab)], Tokens: m.nVocab,
		BOS: int32(llama.VocabBOS(m.vocab)), EOS: int32(llama.VocabEOS(m.vocab)), EOT: int32(llama.VocabEOT(m.vocab)),
		AddBOS: llama.VocabGetAddBOS(m.vocab), AddEOS: llama.VocabGetAddEOS(m.vocab),
	}
	if v.Kind == "none" || v.Kind == "" {
		return v
	}
	for id := range llama.Token(m.nVocab) {
		if llama.VocabIsEOG(m.vocab, id) {
			plain := llama.VocabGetAttr(m.vocab, id)&llama.TokenAttrNormal != 0
			v.Ends = append(v.Ends, llamacpp.NamedID{ID: int32(id), Text: llama.VocabGetText(m.vocab, id), Plain: plain})
		}
	}
	return v
}

// flag is a C bool in a structure.
func flag(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

func (s *session) tokenize(a llamacpp.TokenizeArgs) (any, error) {
	m, err := s.slot(a.Slot)
	if err != nil {
		return nil, err
	}
	return s.lib.tokenizeBytes(m.vocab, a.Text, a.Special, a.Parse)
}

func (s *session) detokenize(a llamacpp.DetokenizeArgs) (any, error) {
	m, err := s.slot(a.Slot)
	if err != nil {
		return nil, err
	}
	if err := m.check(a.Tokens); err != nil {
		return nil, err
	}
	return s.lib.detokenizeBytes(m.vocab, a.Tokens, a.Render)
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

// maxPrompt bounds a rendered chat prompt.
const maxPrompt = 1 << 20

// prompt renders one user message. llama.cpp's C interface recognises known templates by their text and has no Jinja
// engine: an unknown template gives an empty prompt, which is no error.
func (s *session) prompt(a llamacpp.PromptArgs) (any, error) {
	m, err := s.slot(a.Slot)
	if err != nil {
		return nil, err
	}
	tmpl := llama.ModelChatTemplate(m.handle, "")
	if tmpl == "" {
		return "", nil
	}
	chat := []llama.ChatMessage{llama.NewChatMessage("user", a.User)}
	buf := make([]byte, len(a.User)+4096)
	n := llama.ChatApplyTemplate(tmpl, chat, true, buf)
	if int(n) > len(buf) && n < maxPrompt {
		buf = make([]byte, n)
		n = llama.ChatApplyTemplate(tmpl, chat, true, buf)
	}
	if n <= 0 || int(n) > len(buf) {
		return "", nil // a template that llama.cpp's short list does not have
	}
	return string(buf[:n]), nil
}

// usage tells what this process holds, before it is gone.
func (s *session) usage(struct{}) (any, error) {
	return llamacpp.Usage{PeakRSS: peakRSS(), Buffers: s.log.takeBuffers()}, nil
}
