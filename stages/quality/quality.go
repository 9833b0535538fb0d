// Package quality measures how close a file is to its source precision: perplexity, Kullback-Leibler divergence and
// agreement on the most likely next token, as llama-perplexity computes them.
//
// Source and candidates run in step in one child where their weights fit the memory together; otherwise the source's
// log-probabilities pass through a bounded compressed file, one child at a time. Both ways give the same numbers.
package quality

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"quern/quantize/llamacpp"
)

// Way is how source and candidates met.
type Way string

// The ways.
const (
	InStep      Way = "step" // all in one child
	ThroughFile Way = "file" // one after the other
)

// Options says what is compared, and with how much memory and disk.
type Options struct {
	Source     string                  // the file of the source precision
	Candidates []string                // files to judge
	Text       []byte                  // held-out text
	Chunk      int                     // tokens of a chunk; 0: 256
	Chunks     int                     // at most; 0: 60
	Model      llamacpp.ModelOptions   // all but the path
	Context    llamacpp.ContextOptions // threads, flash attention; the length is Chunk
	// Memory is how many bytes of weights may be loaded together; 0: any number.
	Memory int64
	// Dir is where the file of log-probabilities goes; "" means the system's temporary directory.
	Dir string
	// Disk bounds that file; fewer chunks are judged where it would be larger. 0: 4 GiB.
	Disk int64
	// Budget bounds the time: fewer chunks are judged where it would take longer, though always some. 0: any time.
	Budget   time.Duration
	Progress func(what string, done, total int64) // may be nil
}

// Report is the judgement.
type Report struct {
	Way     Way                 `json:"way"`
	Source  llamacpp.Perplexity `json:"source"`
	Results []Result            `json:"results"`
	Tokens  int                 `json:"tokens"` // of the text
	Chunk   int                 `json:"chunk"`
	Chunks  int                 `json:"chunks"`
	Seconds float64             `json:"seconds"`
}

// Result is one candidate.
type Result struct {
	Path   string `json:"path"`
	Chunk  int    `json:"chunk,omitempty"`  // tokens of a chunk
	Chunks int    `json:"chunks,omitempty"` // that were judged
	llamacpp.Divergence
}

// Agreement is the sentence that a person understands: "agrees with the original on 97.1 % of next tokens".
func (r Result) Agreement() string {
	return fmt.Sprintf("agrees with the original on %.1f %% of next tokens", 100*r.SameTop)
}

// Summary is the agreement and the figures behind it.
func (r Result) Summary() string {
	return fmt.Sprintf("%s; divergence %.4f mean, %.3f at 99 %%; perplexity %.3f, the original's %.3f", r.Agreement(), r.Mean, r.P99, r.Perplexity.Value, r.Divergence.Source.Value)
}

const (
	defaultChunk  = 256
	defaultChunks = 60
	defaultDisk   = 4 << 30
)

// Starter starts a fresh child.
type Starter func(ctx context.Context) (*llamacpp.Child, error)

// comparison is one judgement under way.
type comparison struct {
	ctx    context.Context
	start  Starter
	o      Options
	report *Report
	tokens []int32
	begun  time.Time
}

// Compare judges every candidate against the source.
func Compare(ctx context.Context, start Starter, o Options) (*Report, error) {
	if len(o.Candidates) == 0 || o.Source == "" {
		return nil, fmt.Errorf("quality: %d candidates and source %q: at least one of each is needed", len(o.Candidates), o.Source)
	}
	if o.Chunk == 0 {
		o.Chunk = defaultChunk
	}
	if o.Chunks == 0 {
		o.Chunks = defaultChunks
	}
	if o.Disk == 0 {
		o.Disk = defaultDisk
	}
	o.Context.Context = o.Chunk
	c := &comparison{ctx: ctx, start: start, o: o, report: &Report{Way: InStep, Chunk: o.Chunk}, begun: time.Now()}
	together, err := c.fits()
	if err != nil {
		return nil, err
	}
	if together {
		err = c.inStep()
	} else {
		c.report.Way = ThroughFile
		err = c.throughFile()
	}
	c.report.Seconds = time.Since(c.begun).Seconds()
	return c.report, err
}

// fits tells whether all files may be loaded together.
func (c *comparison) fits() (bool, error) {
	var sum int64
	for _, p := range append([]string{c.o.Source}, c.o.Candidates...) {
		size, err := weight(p)
		if err != nil {
			return false, err
		}
		sum += size
	}
	return c.o.Memory == 0 || sum <= c.o.Memory, nil
}

// weight is the size of a file with all parts that belong to it (name-00001-of-00003.gguf).
func weight(path string) (int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	base := strings.TrimSuffix(path, ".gguf")
	i := strings.LastIndex(base, "-of-")
	if i < 6 {
		return info.Size(), nil
	}
	parts, err := filepath.Glob(escape(base[:i-5]) + "?????" + escape(base[i:]) + ".gguf")
	if err != nil || len(parts) == 0 {
		return info.Size(), nil
	}
	var sum int64
	for _, p := range parts {
		if info, err := os.Stat(p); err == nil {
			sum += info.Size()
		}
	}
	return sum, nil
}

// escape takes the meaning out of a pattern's characters.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
}

func (c *comparison) load(child *llamacpp.Child, path string) (*llamacpp.Model, error) {
	o := c.o.Model
	o.Path = path
	return child.Load(c.ctx, o)
}

// encode tokenizes the text once, with the source's vocabulary.
func (c *comparison) encode(child *llamacpp.Child, slot int) error {
	ids, err := child.Tokenize(c.ctx, llamacpp.TokenizeArgs{Slot: slot, Text: c.o.Text, Special: true})
	if err != nil {
		return err
	}
	c.tokens, c.report.Tokens = ids, len(ids)
	if len(ids) < c.o.Chunk {
		return fmt.Errorf("quality: the text has %d tokens, one chunk needs %d", len(ids), c.o.Chunk)
	}
	return nil
}

func (c *comparison) progress(what string) func(llamacpp.Progress) {
	if c.o.Progress == nil {
		return nil
	}
	return func(p llamacpp.Progress) { c.o.Progress(what, p.Done, p.Total) }
}

func (c *comparison) inStep() error {
	child, err := c.start(c.ctx)
	if err != nil {
		return err
	}
	defer child.Close()
	src, err := c.load(child, c.o.Source)
	if err != nil {
		return err
	}
	if err := c.encode(child, src.Slot); err != nil {
		return err
	}
	a := c.args(src.Slot)
	for _, p := range c.o.Candidates {
		m, err := c.load(child, p)
		if err != nil {
			return err
		}
		a.Candidates = append(a.Candidates, m.Slot)
	}
	a.MaxSeconds = c.within(1)
	d, err := child.Divergence(c.ctx, a, c.progress("all"))
	if err != nil {
		return err
	}
	c.take(d, c.o.Candidates)
	return nil
}

func (c *comparison) args(source int) llamacpp.DivergenceArgs {
	return llamacpp.DivergenceArgs{ContextOptions: c.o.Context, Source: source, Tokens: c.tokens, Chunks: c.o.Chunks, MaxBytes: c.o.Disk}
}

// within is the share in seconds that one of n equal passes has of the time that is left; 0 without a budget.
func (c *comparison) within(n int) float64 {
	if c.o.Budget == 0 {
		return 0
	}
	return max(1e-9, (c.o.Budget-time.Since(c.begun)).Seconds()/float64(n))
}

func (c *comparison) take(d *llamacpp.Divergences, paths []string) {
	for i, p := range paths {
		r := Result{Path: p, Chunk: c.o.Chunk, Chunks: d.Candidates[i].Perplexity.Chunks, Divergence: d.Candidates[i]}
		c.report.Results = append(c.report.Results, r)
		c.report.Chunks = r.Perplexity.Chunks
	}
	c.report.Source = d.Source
}

// throughFile lets each file have a child of its own: first the source, which leaves its log-probabilities behind.
func (c *comparison) throughFile() error {
	dir, err := os.MkdirTemp(c.o.Dir, "quern-quality-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "source.logits")
	if err := c.saveSource(file); err != nil {
		return err
	}
	for _, p := range c.o.Candidates {
		if err := c.judge(file, p); err != nil {
			return err
		}
	}
	return nil
}

func (c *comparison) saveSource(file string) error {
	child, err := c.start(c.ctx)
	if err != nil {
		return err
	}
	defer child.Close()
	src, err := c.load(child, c.o.Source)
	if err != nil {
		return err
	}
	if err := c.encode(child, src.Slot); err != nil {
		return err
	}
	// A row takes two bytes a token of the vocabulary and a few more; compression takes a third off, on which nothing
	// may depend.
	perChunk := int64(c.o.Chunk-1-c.o.Chunk/2) * (2*int64(src.Vocab.Tokens) + 16)
	if most := c.o.Disk / max(1, perChunk); int64(c.o.Chunks) > most {
		if most < 1 {
			return fmt.Errorf("quality: the log-probabilities of one chunk take %d bytes, %d are allowed", perChunk, c.o.Disk)
		}
		c.o.Chunks = int(most)
	}
	a := c.args(src.Slot)
	a.File, a.MaxSeconds = file, c.within(1+len(c.o.Candidates))
	d, err := child.Divergence(c.ctx, a, c.progress(filepath.Base(c.o.Source)))
	if err != nil {
		return err
	}
	c.report.Source, c.o.Chunks = d.Source, d.Source.Chunks // the candidates are judged on what the source was
	return nil
}

func (c *comparison) judge(file, path string) error {
	child, err := c.start(c.ctx)
	if err != nil {
		return err
	}
	defer child.Close()
	m, err := c.load(child, path)
	if err != nil {
		return err
	}
	a := c.args(-1)
	a.File, a.Candidates = file, []int{m.Slot}
	d, err := child.Divergence(c.ctx, a, c.progress(filepath.Base(path)))
	if err != nil {
		return err
	}
	c.take(d, []string{path})
	return nil
}
