// Package smoke tries whether a GGUF file works: it loads it, tokenizes, generates and measures in a child process, and
// looks for the failures that a wrong conversion is known to cause.
//
// There is no golden text: greedy text differs between processors. Each check names itself, the value that it measured
// and the limit that it held it against. Which checks apply depends on the model: a generator, an embedder, a reranker.
package smoke

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"quern/quantize/llamacpp"
)

// ErrFailed is what a failed smoke test is (errors.Is); the command ends with exit code 15.
var ErrFailed = errors.New("smoke test failed")

//go:embed text.txt
var shipped string

// Options says what is tried.
type Options struct {
	Model   llamacpp.ModelOptions
	Context llamacpp.ContextOptions // threads, flash attention, cache types; the length is the checks' own
	// Encoded are texts and their ids by the checkpoint's own tokenizer, computed by quern's engine. Without them the
	// token check only goes there and back again. Texts must not begin with a blank: whether SentencePiece puts another
	// before it is not the same in every tokenizer's file.
	Encoded []Encoded
	// Encode is the checkpoint's own tokenizer, which also knows special tokens in a text. With it the ids of a chat, as the
	// template writes it, are compared too; nil where llama.cpp is known to encode such texts otherwise.
	Encode  func(text string) ([]int32, error)
	Adapter string // a LoRA file that is tried on the model; "" when the model itself is
	// Projector is the vision or audio part that is tried beside the model, after it; "" when there is none.
	Projector string
	Source    string   // a file of the source precision to compare with; "" when there is none at hand
	Text      string   // the text that is judged; "" means the one that quern ships
	Checks    []string // names of the checks to make, as ParseChecks gives them; nil: all that fit the model
	// MaxDivergence is the largest mean Kullback-Leibler divergence from the source, in nats; 0 means 1.5, which a
	// working file of less than two bits a weight still meets.
	MaxDivergence float64
}

// Encoded is a text and the ids that llama.cpp has to give it.
type Encoded struct {
	Text    string
	Special bool // with the tokens that the model adds around a text
	Parse   bool // texts of special tokens are these tokens
	IDs     []int32
}

// State is the outcome of one check.
type State string

// The outcomes.
const (
	Passed  State = "ok"
	Failed  State = "failed"
	Skipped State = "skipped" // does not apply, for the reason in Value
)

// Check is one question and its answer.
type Check struct {
	Name  string  `json:"name"`
	State State   `json:"state"`
	Value string  `json:"value"`           // what was measured, or why the check was skipped
	Limit string  `json:"limit,omitempty"` // what it was held against
	Next  string  `json:"hint,omitempty"`  // what a failure usually means
	Score float64 `json:"score"`           // the number behind Value, where it is one number
}

// Report is the whole test.
type Report struct {
	Checks []Check         `json:"checks"`
	Model  *llamacpp.Model `json:"-"`
	Text   string          `json:"text,omitempty"` // the beginning of what was generated
	// Perplexity of the judged text; 0 where it was not measured.
	Perplexity float64 `json:"perplexity,omitempty"`
	// SameTop is the share of next tokens on which the file and its source agree; 0 without a source.
	SameTop float64 `json:"same_top,omitempty"`
	PeakRSS int64   `json:"peak_rss,omitempty"` // of the child, bytes
}

// Count is the number of checks in a state.
func (r *Report) Count(s State) int {
	n := 0
	for _, c := range r.Checks {
		if c.State == s {
			n++
		}
	}
	return n
}

// Summary is one line: the number of checks, their names, and the perplexity.
func (r *Report) Summary() string {
	var names []string
	for _, c := range r.Checks {
		if c.State != Passed {
			continue
		}
		n := c.Name
		if n == namePerplexity {
			n = fmt.Sprintf("%s %.1f", n, r.Perplexity)
		}
		names = append(names, n)
	}
	return fmt.Sprintf("%d checks: %s", len(names), strings.Join(names, ", "))
}

// Err is nil when no check failed, and otherwise names those that did.
func (r *Report) Err(path string) error {
	var failed []Check
	for _, c := range r.Checks {
		if c.State == Failed {
			failed = append(failed, c)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return &Failure{Path: path, Checks: failed}
}

// Failure is a file that does not work.
type Failure struct {
	Path   string
	Checks []Check // those that failed
}

// Error names the file and each failed check with its value.
func (f *Failure) Error() string {
	var s []string
	for _, c := range f.Checks {
		t := c.Name + ": " + c.Value
		if c.Limit != "" {
			t += " (" + c.Limit + ")"
		}
		s = append(s, t)
	}
	return fmt.Sprintf("smoke %s: %s", f.Path, strings.Join(s, "; "))
}

// Hint is what the first failure usually means.
func (f *Failure) Hint() string {
	for _, c := range f.Checks {
		if c.Next != "" {
			return c.Next
		}
	}
	return ""
}

// Is makes every failure an ErrFailed.
func (f *Failure) Is(target error) bool { return target == ErrFailed }

// run is one test under way.
type run struct {
	ctx    context.Context
	child  *llamacpp.Child
	o      Options
	r      *Report
	model  *llamacpp.Model
	tokens []int32 // of the judged text, once it was encoded
	// guesses is set where the model predicts no better than a guess among all its tokens, or finds no order of meaning.
	guesses bool
	shifts  bool // a generation showed that the cache can be shifted
}

// Try runs all checks that fit the model in the child. Its error tells of a runtime that failed; a file that fails is
// told by the report. What the file was loaded as stays loaded in the child.
func Try(ctx context.Context, child *llamacpp.Child, o Options) (*Report, error) {
	if o.Text == "" {
		o.Text = shipped
	}
	if o.MaxDivergence <= 0 {
		o.MaxDivergence = 1.5
	}
	t := &run{ctx: ctx, child: child, o: o, r: &Report{}}
	if ok, err := t.load(); err != nil || !ok {
		return t.r, err
	}
	steps := t.steps()
	if o.Projector != "" {
		steps = append(steps, step{[]string{nameTowers, nameShapes, nameWidth, namePicture, nameSound}, t.checkBeside})
	}
	if err := t.all(steps); err != nil {
		return t.r, err
	}
	t.admit()
	if u, err := child.Usage(ctx); err == nil {
		t.r.PeakRSS = u.PeakRSS
	}
	return t.r, nil
}

// embeds tells models whose answer is a vector from those that continue a text.
func (t *run) embeds() bool {
	m := t.model
	return !m.Causal || m.Encoder && !m.Decoder || m.Pooling == "mean" || m.Pooling == "cls" || m.Pooling == "last"
}

// steps are the checks that fit the model.
func (t *run) steps() []step {
	tokens := step{[]string{nameTokens}, t.checkTokens}
	generation := step{[]string{nameLogits, nameRepetition, nameUTF8}, t.checkGeneration}
	end := step{[]string{nameEnd}, t.checkEnd}
	switch m := t.model; {
	case t.o.Adapter != "":
		return t.adapted(tokens)
	case m.Diffusion:
		return []step{tokens, {[]string{nameLogits}, t.checkMasked}}
	case m.Pooling == "rank" || m.Classifier && m.Pooling == "": // embedders may carry labels of their library too
		return []step{tokens, {[]string{nameClasses, nameRanking}, t.checkReranker}}
	case t.embeds():
		return []step{tokens, {[]string{nameEmbedding, nameSimilarity}, t.checkEmbedding}}
	case t.readsBoth():
		return []step{tokens, {[]string{nameEncoder}, t.checkEncoder}, generation, end}
	}
	state := step{[]string{nameState}, t.checkState}
	return []step{tokens, generation, state, end, {[]string{namePerplexity}, t.checkPerplexity}, {[]string{nameSource}, t.checkSource}}
}

// all makes the checks that are wanted, and says of those that were named and do not fit the model that they were not made.
func (t *run) all(steps []step) error {
	for _, s := range steps {
		name := t.o.wanted(s)
		if name == "" {
			continue
		}
		if err := t.tolerate(s.run(), name); errors.Is(err, errUnfit) {
			return nil
		} else if err != nil {
			return err
		}
	}
	for _, name := range t.o.misfits(steps) {
		t.skip(name, "no check for this kind of model")
	}
	return nil
}

// tolerate turns what llama.cpp refuses while it lives into a failed check: the file is at fault, not the runtime.
func (t *run) tolerate(err error, check string) error {
	var e *llamacpp.Error
	if !errors.As(err, &e) || e.Fault != llamacpp.Refused {
		return err
	}
	if strings.Contains(e.Says, "ctx_other") {
		t.skip(check, "a draft model runs only beside the model that it was made for")
		return nil
	}
	t.add(Check{Name: check, State: Failed, Value: e.Says, Next: e.Next})
	return nil
}

func (t *run) load() (bool, error) {
	t.o.Model.CheckTensors = true // a NaN can hide behind quantized activations, not from a look at every block
	m, err := t.child.Load(t.ctx, t.o.Model)
	var e *llamacpp.Error
	if errors.As(err, &e) && e.Fault == llamacpp.Refused {
		t.fail(nameLoad, e.Says, "", unloadable(t.o.Model.Path))
		return false, nil
	}
	if err != nil {
		return false, err
	}
	t.model, t.r.Model = m, m
	if m.Bytes <= small && t.o.Context.Threads == 0 {
		t.o.Context.Threads = 1
	}
	t.pass(nameLoad, fmt.Sprintf("%s in %.2f s", m.Description, m.LoadSeconds), "", m.LoadSeconds)
	return true, nil
}

// small is the size in bytes up to which one thread computes: threads of such a model wait for one another most of the time, and
// without end where other programs hold the processors.
const small = 32 << 20

// unloadable is what to do about a file that llama.cpp refuses as a model.
func unloadable(path string) string {
	f, err := readBack(path)
	if err != nil {
		return "the file is damaged or cut off: " + err.Error()
	}
	if f.Architecture() == "clip" {
		return "this is the vision or audio part of a model: `quern smoke MODEL --mmproj " + path + "` tries it beside the model"
	}
	if kind, _ := f.String("general.type"); kind == "adapter" {
		return "this is an adapter: `quern prepare --lora ADAPTER --base MODEL` tries it on its base"
	}
	return "llama.cpp does not accept the file: metadata, tensor names or shapes are not what the architecture needs"
}

// add keeps a check that is wanted. That a file does not load is always told.
func (t *run) add(c Check) {
	if t.o.wants(c.Name) || c.State == Failed && (c.Name == nameLoad || c.Name == nameAdapter) {
		t.r.Checks = append(t.r.Checks, c)
	}
}

func (t *run) pass(name, value, limit string, score float64) {
	t.add(Check{Name: name, State: Passed, Value: value, Limit: limit, Score: score})
}

func (t *run) fail(name, value, limit, next string) {
	t.add(Check{Name: name, State: Failed, Value: value, Limit: limit, Next: next})
}

func (t *run) skip(name, why string) { t.add(Check{Name: name, State: Skipped, Value: why}) }

// judge passes or fails by ok.
func (t *run) judge(ok bool, c Check) {
	c.State = Failed
	if ok {
		c.State, c.Next = Passed, ""
	}
	t.add(c)
}
