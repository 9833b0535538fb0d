package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/vocab"
	"quern/quantize/llamacpp"
	"quern/quantize/machine"
	"quern/quantize/policy"
	"quern/quantize/recipe"
	"quern/quantize/recommend"
	"quern/stages/bench"
	"quern/stages/job"
	"quern/stages/quality"
	"quern/stages/smoke"
	"quern/stages/source"

	"github.com/google/renameio/v2"
	"github.com/gowebpki/jcs"
)

// ReceiptVersion is the form of receipts. A reader refuses a newer one.
const ReceiptVersion = 1

// Suffix follows the name of the file that a receipt is about.
const Suffix = ".receipt.json"

// maxReceipt bounds what is read: a receipt names every tensor of a model, of which the largest has some hundred thousand.
const maxReceipt = 256 << 20

// Receipt says where a file comes from, how it was made, and what it did when it was tried. Its schema is
// receipt.schema.json.
type Receipt struct {
	Version   int              `json:"receipt_version"`
	Made      time.Time        `json:"made"`
	Quern     string           `json:"quern"`
	LlamaCpp  string           `json:"llama_cpp"`
	Libraries *Libraries       `json:"libraries,omitempty"` // of llama.cpp, where they made blocks or ran the file
	Arguments []string         `json:"arguments"`
	Source    Origin           `json:"source"`
	Outputs   []FileDigest     `json:"outputs"`          // the parts of the model, beside the receipt
	Beside    []FileDigest     `json:"beside,omitempty"` // files that are loaded with it: the projector of a multimodal model
	Type      string           `json:"type"`
	Arch      string           `json:"architecture"`
	Class     string           `json:"class,omitempty"`
	As        bool             `json:"converted_as,omitempty"` // the user chose the class, config.json says another
	License   string           `json:"license,omitempty"`
	Kernel    string           `json:"kernel,omitempty"`
	Platform  string           `json:"platform"`          // the bits of a kernel hold for it
	Seconds   float64          `json:"seconds,omitempty"` // that the build took, with all types of the same run
	BPW       float64          `json:"bits_per_weight"`
	Tensors   []Tensor         `json:"tensors"`
	Dropped   []Dropped        `json:"dropped,omitempty"`
	Pre       *vocab.Identity  `json:"pre_tokenizer,omitempty"` // of a checkpoint: which one, and how it was decided
	Warnings  []string         `json:"warnings,omitempty"`
	Imatrix   *job.Calibration `json:"imatrix,omitempty"`
	Recipe    *Mixture         `json:"recipe,omitempty"`
	Machine   *machine.Machine `json:"machine,omitempty"`
	Smoke     *smoke.Report    `json:"smoke,omitempty"`
	Bench     *bench.Report    `json:"bench,omitempty"` // busy tests too; a record leaves them out
	Quality   *quality.Result  `json:"quality,omitempty"`
	// Setting is how to run the file on the machine that it was made for.
	Setting *recommend.Setting `json:"setting,omitempty"`
}

// Libraries are the shared libraries of llama.cpp that a run used.
type Libraries struct {
	Origin    llamacpp.Origin `json:"origin"`              // where they were found
	Package   string          `json:"package,omitempty"`   // of npm, with its version
	Integrity string          `json:"integrity,omitempty"` // the package's SHA-512, as npm writes it
}

// Mixture says how a mixture of types was found. Its tensors stand in the receipt's own list.
type Mixture struct {
	Base   string  `json:"file_type"`
	Budget string  `json:"budget"`
	Error  float64 `json:"error"` // weighted, as measured on sampled rows
	Bound  float64 `json:"bound"` // no mixture within the budget has less
	Kernel string  `json:"kernel"`
	// Rivals says whether it beats the named type of the next smaller size, and by what.
	Rivals *job.Rivals `json:"beside,omitempty"`
}

// Origin is the source of a file.
type Origin struct {
	Kind     source.Kind  `json:"kind"`
	Model    string       `json:"model"`
	Repo     string       `json:"repo,omitempty"`
	Commit   string       `json:"commit,omitempty"`
	File     string       `json:"file,omitempty"`  // of the repository, where the source is a GGUF file in it
	Gated    string       `json:"gated,omitempty"` // "auto" or "manual" where the Hub lets in only who accepted the terms
	Base     string       `json:"base,omitempty"`  // of an adapter: the model whose rules it follows
	Verified string       `json:"verified"`        // how the source's bytes were proven
	Files    []FileDigest `json:"files"`
}

// Argument names the source again: at the very commit, where it has one.
func (o Origin) Argument() string {
	if o.Commit == "" {
		return o.Model
	}
	return source.PinnedArg(o.Repo, o.Commit, o.File)
}

// Mixture is the recipe that the receipt's tensors are: it replays what a search found, without the search.
func (r *Receipt) Mixture() *recipe.Recipe {
	m := &recipe.Recipe{Base: r.Recipe.Base, Budget: r.Recipe.Budget, Error: r.Recipe.Error, Bound: r.Recipe.Bound, Kernel: r.Recipe.Kernel}
	for _, t := range r.Tensors {
		if g, ok := gguf.ParseType(t.Type); ok && strings.HasPrefix(t.Rule, policy.RecipeRule) {
			m.Tensors = append(m.Tensors, recipe.Tensor{Name: t.Name, Type: recipe.TypeName(g)})
		}
	}
	return m
}

// Projector tells whether the file is loaded beside a model.
func (r *Receipt) Projector() bool { return r.Arch == "clip" }

// FileDigest is a file by name, size and digest.
type FileDigest struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	Digest string `json:"digest"` // sha256:... or git-sha1:...
	// Verified says how the bytes were proven where that is not the same for all files.
	Verified string `json:"verified,omitempty"`
}

// Tensor is the type of one tensor and the rule that chose it.
type Tensor struct {
	Name string `json:"name"`
	Type string `json:"type"`
	From string `json:"from,omitempty"` // the type before quantization
	Rule string `json:"rule"`
}

// Dropped is a tensor of the checkpoint that is not in the file.
type Dropped struct {
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// NewReceipt fills a receipt from what the stages found.
func NewReceipt(s *job.State, a *job.Artifact, files []FileDigest, verified string) *Receipt {
	r := &Receipt{
		Version: ReceiptVersion, Made: time.Now().UTC().Truncate(time.Second), Quern: s.Version, LlamaCpp: llamacpp.Version, Arguments: s.Args,
		Source: Origin{Kind: s.Source.Kind, Model: s.Model, Repo: s.Source.Repo, Commit: s.Source.Commit, File: s.Source.File, Verified: verified, Files: files},
		Type:   a.Type, Kernel: a.Kernel, Platform: platform(), Seconds: a.Seconds, BPW: a.BitsPerWeight(), Machine: s.Machine,
	}
	r.Smoke, _ = a.Smoke.(*smoke.Report)
	r.Bench, _ = a.Bench.(*bench.Report)
	r.Quality, _ = a.Quality.(*quality.Result)
	if strings.Contains(a.Kernel, job.LibraryKernel) || r.Smoke != nil || r.Bench != nil || r.Quality != nil {
		r.Libraries = libraries(s)
	}
	if s.Advice != nil && !a.Mmproj {
		r.Setting = &s.Advice.Setting
	}
	if s.Pinned != nil {
		r.Source.Gated = s.Pinned.Gated
	}
	if b := s.BaseOf; b != nil {
		r.Source.Base = b.Arg
		if b.Commit != "" {
			r.Source.Base = b.Repo + "@" + b.Commit
		}
	}
	r.Outputs = digests(a)
	if p := s.Projector(); p != nil && !a.Mmproj {
		r.Beside = digests(p)
	}
	if len(a.Plans) > 0 {
		r.Arch = a.Plans[0].Architecture()
	}
	if m := a.Model; m != nil {
		r.Class, r.As, r.License, r.Warnings = m.HF, m.As, m.Card.License, slices.Clone(m.Warnings)
		for _, d := range m.Dropped {
			r.Dropped = append(r.Dropped, Dropped{d.Name, d.Reason})
		}
		if m.Vocab != nil && m.Vocab.Pre != nil {
			r.Pre = m.Vocab.Pre
		}
	}
	if a.Policy != nil && a.Policy.UsesImatrix() {
		r.Imatrix = s.Matrix
	}
	if a.Policy != nil {
		for _, w := range a.Policy.Warnings {
			r.Warnings = append(r.Warnings, w.On+": "+w.Says)
		}
	}
	if m := s.Recipe; m != nil {
		r.Recipe = &Mixture{m.Base, m.Budget, m.Error, m.Bound, m.Kernel, s.Rivals}
	}
	r.Tensors = tensors(a)
	return r
}

// libraries says what the run's libraries are; nil where there are none (any more).
func libraries(s *job.State) *Libraries {
	if s.Runtime == nil {
		return nil
	}
	rt, err := s.Runtime()
	if err != nil {
		return nil
	}
	l := &Libraries{Origin: rt.Origin}
	if m := rt.Manifest; m != nil {
		l.Package, l.Integrity = m.Package, m.Integrity
	}
	return l
}

// digests are the parts of an artifact as they were written.
func digests(a *job.Artifact) []FileDigest {
	var ds []FileDigest
	for i, p := range a.Paths {
		ds = append(ds, FileDigest{Name: filepath.Base(p), Size: a.Plans[i].FileSize, Digest: "sha256:" + a.SHA256[i]})
	}
	return ds
}

// tensors are the types as the policy decided them; a conversion alone has no policy, and one rule.
func tensors(a *job.Artifact) []Tensor {
	ts := []Tensor{} // a file of a vocabulary alone has none
	if a.Policy != nil {
		for _, d := range a.Policy.Decisions {
			ts = append(ts, Tensor{d.Name, d.To.String(), d.From.String(), d.Rule})
		}
		return ts
	}
	for _, o := range a.Outputs() {
		ts = append(ts, Tensor{Name: o.Name, Type: o.Type.String(), Rule: "as the converter writes it"})
	}
	return ts
}

// Write puts the receipt beside its file, in canonical JSON (RFC 8785) and a line's end: the same receipt is the same bytes,
// whatever wrote it.
func (r *Receipt) Write(path string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if b, err = jcs.Transform(b); err != nil {
		return fmt.Errorf("receipt %s: %w", path, err)
	}
	return renameio.WriteFile(path, append(b, '\n'), 0o644)
}

// ReadReceipt reads a receipt.
func ReadReceipt(path string) (*Receipt, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &NoReceiptError{path}
		}
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxReceipt+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxReceipt {
		return nil, &fault.Invalid{On: path, Says: fmt.Sprintf("more than %d bytes", maxReceipt)}
	}
	var r Receipt
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, &fault.Invalid{On: path, Says: "not a receipt", Err: err}
	}
	if r.Version < 1 || r.Version > ReceiptVersion {
		return nil, &fault.Invalid{On: path, Says: fmt.Sprintf("receipt version %d, this quern reads up to %d", r.Version, ReceiptVersion), Next: "use a newer quern"}
	}
	return &r, r.sound(path)
}

// digestForm is how receipts write the digest of what quern made.
var digestForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// sound refuses a receipt whose outputs are not names and digests of files. Names go into paths, into SHA256SUMS line by line and into
// signed statements, so that whoever sends a receipt could otherwise write there what they like.
func (r *Receipt) sound(path string) error {
	for _, f := range slices.Concat(r.Outputs, r.Beside) {
		switch {
		case f.Name == "" || f.Name == "." || f.Name == ".." || strings.ContainsAny(f.Name, `/\`) || strings.ContainsFunc(f.Name, unicode.IsControl):
			return &fault.Invalid{On: path, Says: fmt.Sprintf("%.80q is no name of a file beside the receipt", f.Name)}
		case !digestForm.MatchString(f.Digest):
			return &fault.Invalid{On: path, Says: fmt.Sprintf("%.80q of %s is no SHA-256", f.Digest, f.Name)}
		case f.Size < 0:
			return &fault.Invalid{On: path, Says: fmt.Sprintf("%s has %d bytes", f.Name, f.Size)}
		}
	}
	return nil
}

// NoReceiptError says that a file has no receipt beside it. It is an fs.ErrNotExist.
type NoReceiptError struct{ Path string }

// Error names the receipt.
func (e *NoReceiptError) Error() string { return e.Path + ": there is no receipt" }

// Hint says where receipts come from.
func (e *NoReceiptError) Hint() string {
	return "quern writes one beside every file that it makes; only such files can be verified"
}

// Is makes the error an fs.ErrNotExist.
func (e *NoReceiptError) Is(target error) bool { return target == fs.ErrNotExist }
