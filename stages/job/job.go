// Package job holds what one preparation asks for and what its stages find out: each field is filled by the stage that its
// comment names and read by those after it.
package job

import (
	"context"
	"io/fs"
	"maps"
	"slices"
	"time"

	"quern/convert"
	"quern/convert/gguf"
	"quern/convert/vocab"
	"quern/hfclient"
	"quern/pipeline"
	"quern/quantize/kernel"
	"quern/quantize/llamacpp"
	"quern/quantize/machine"
	"quern/quantize/policy"
	"quern/quantize/recipe"
	"quern/quantize/recommend"
	"quern/stages/source"
)

// Request is what the user asked for. Zero values mean: decide.
type Request struct {
	Model   string   // the MODEL argument
	Types   []string // file types to write; none: the recommended one
	Out     string   // a path that ends in .gguf is the file, any other is the folder; empty: models/
	Convert convert.Options
	Policy  policy.Options
	Imatrix Importance
	Auto    *Auto // compute an imatrix for the types below Q4; nil: use the one that is named, or none
	Wish    recommend.Wish
	For     string // a machine that is not here
	DryRun  bool   // only to be planned: what would refuse the work is a warning
	Force   bool   // write over a file that is there and differs
	NoSmoke bool
	NoTower bool // no projector beside the model
	NoBench bool
	// BenchTime and QualityTime bound what measuring all files may take; 0: any time.
	BenchTime, QualityTime time.Duration
	NoQuality              bool
	Split                  gguf.Splitting
	Stream                 bool           // convert from the Hub without keeping the source
	Label                  string         // follows the type in file names
	Recipe                 *recipe.Recipe // the mixture that --fit found or --recipe named; nil: by the file type
	Against                []string       // named types that a mixture is compared with, beside the one of the next smaller size
	Make                   Make
	Adapter                bool   // MODEL is a LoRA adapter
	Base                   string // the model that the adapter was made for; empty: the one that it names
	OnBase                 string // a GGUF file of the base, on which the adapter is tried; empty: it is not
}

// Make says which files are wanted.
type Make string

// What commands make: prepare weighs and recommends, convert writes the converter's own file, quantize the quantizer's.
const (
	Recommended Make = ""
	Converted   Make = "convert"
	Quantized   Make = "quantize"
)

// Auto says which entries of the computed imatrix are used.
type Auto struct{ Include, Exclude []string }

// Calibration is the imatrix of a run, for the receipt.
type Calibration struct {
	File     string   `json:"file"`             // as the metadata names it
	Digest   string   `json:"digest"`           // of the matrix file
	Text     string   `json:"text,omitempty"`   // the data set's name
	Of       string   `json:"of,omitempty"`     // what read the text, when it was computed for this run
	Chunks   int64    `json:"chunks,omitempty"` // of the text
	Entries  int      `json:"entries"`
	Coverage []string `json:"coverage,omitempty"`
	Seconds  float64  `json:"seconds,omitempty"`
}

// Importance gives the importance of an entry's columns, nil where there is none: rows x matrices, one behind the other.
type Importance func(tensor string) []float32

// Tools are the means that a run has. They are shared by all stages and read-only.
type Tools struct {
	Args    []string // the command line, for the receipt
	Version string   // quern's own
	Hub     *hfclient.Client
	Runtime func() (*llamacpp.Runtime, error)
	Worker  llamacpp.WorkerCommand
	Kernel  string       // auto, avx512, avx2, neon, go, llamacpp
	Prover  vocab.Prover // nil where the runtime is missing
	Workers int          // 0: all cores
	Threads int          // of inference where others work beside it; 0: what is recommended
}

// State is one run.
type State struct {
	Request
	Tools

	kernels kernel.Quantizer // made once in a run, when first needed

	Source    *source.Source // plan: what MODEL names, opened for headers
	CannotRun string         // plan: why files can be made but not run; empty: they can
	Pinned    *hfclient.Revision
	Pull      *hfclient.Plan     // plan: what pull will fetch; nil for local sources
	Remote    *hfclient.FS       // plan: the revision's files by range; nil for local sources
	Local     *hfclient.Snapshot // pull: the files on this disk
	Checked   *convert.Model     // plan: the conversion, from headers
	Tower     *convert.Model     // plan: the projector of the checkpoint; nil where it has none or none is wanted
	BaseOf    *source.Source     // plan: of an adapter, its base, opened for config.json
	Parts     []*gguf.File       // plan: the source when it is GGUF, in the order of its parts
	Machine   *machine.Machine   // plan
	Shape     *recommend.Shape   // plan
	Advice    *recommend.Choice  // plan; nil where nothing is recommended
	Chosen    string             // plan: the recommended type; "" where the user named types or none could be recommended
	Rivals    *Rivals            // rival: how a mixture stands beside named types; nil without one
	Matrix    *Calibration       // importance, or the command where a file is named; nil without an imatrix
	Knobs     *recommend.Knobs   // plan: what tune found to be best on this machine; nil where it has not run
	Digests   map[string]string  // of the local source's files by name, taken before or beside the build
	Files     []*Artifact        // plan: what will be written; build, smoke and bench add to them
	Beside    *Artifact          // made by another state: the projector of these models, or the model of this projector
	Close     []func() error     // what was opened; closed by the command at the end
}

// LocalNames lists the local files that the outputs are made of; none for the Hub's, whose digests are known.
func (s *State) LocalNames() ([]string, error) {
	switch s.Source.Kind {
	case source.Hub:
		return nil, nil
	case source.GGUF:
		var names []string
		for _, p := range s.Parts {
			names = append(names, p.Name)
		}
		return names, nil
	}
	return source.Names(s.Source.FS)
}

// TakeDigests reads those of the files whose digests the state does not have yet.
func (s *State) TakeDigests(ctx context.Context, names []string) error {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return s.Digests[n] != "" })
	if len(names) == 0 {
		return nil
	}
	taken, err := source.Digests(ctx, s.Source.FS, names)
	if err != nil {
		return err
	}
	all := maps.Clone(s.Digests) // states of one source share the map
	if all == nil {
		all = map[string]string{}
	}
	for i, name := range names {
		all[name] = taken[i]
	}
	s.Digests = all
	return nil
}

// Artifact is one output, which may be split into several files.
type Artifact struct {
	Type    string         // Q4_K_M, BF16, ...
	Mmproj  bool           // it is the vision or audio part, which is loaded beside a text model
	Path    string         // of the only file, or of the first part
	Paths   []string       // of all parts
	Copies  []Ref          // for each tensor of all parts, the tensor of the GGUF source that passes unchanged; nil otherwise
	Firsts  []int          // of each part: the index of its first tensor among all
	Plans   []gguf.Plan    // of each part
	Model   *convert.Model // the conversion whose tensors these are; nil when the source is GGUF
	Policy  *policy.Output // nil when the converter's own file is written
	Bytes   int64
	SHA256  []string // build: of each part
	Kernel  string   // build: which kernel wrote the blocks
	Seconds float64  // build
	Smoke   any      // smoke: its report
	Bench   any      // bench: its report
	Quality any      // quality: its result for this file
	Receipt string   // record: path
}

// SetParts makes the artifact consist of the parts.
func (a *Artifact) SetParts(parts []gguf.Part) {
	a.Plans, a.Firsts, a.Bytes = nil, nil, 0
	for _, p := range parts {
		a.Plans = append(a.Plans, p.Plan)
		a.Firsts = append(a.Firsts, p.First)
		a.Bytes += p.FileSize
	}
}

// Ref is a tensor of a GGUF source.
type Ref struct{ Part, Index int }

// Elements is the number of weights.
func (a *Artifact) Elements() int64 {
	n := int64(0)
	for _, p := range a.Plans {
		for _, o := range p.Outputs {
			n += o.Elements()
		}
	}
	return n
}

// Outputs lists the tensors of all parts.
func (a *Artifact) Outputs() []gguf.Output {
	var all []gguf.Output
	for _, p := range a.Plans {
		all = append(all, p.Outputs...)
	}
	return all
}

// BitsPerWeight is the size of the tensors over their number of weights.
func (a *Artifact) BitsPerWeight() float64 {
	n := int64(0)
	for _, o := range a.Outputs() {
		n += o.Size
	}
	if e := a.Elements(); e > 0 {
		return float64(n) * 8 / float64(e)
	}
	return 0
}

// Built are the files that build left, with their digests: what a trial or a measurement depends on.
func (s *State) Built() []pipeline.Input {
	var in []pipeline.Input
	for _, a := range s.Files {
		in = append(in, a.Built()...)
	}
	return in
}

// Built are the artifact's parts with their digests, where they have one yet.
func (a *Artifact) Built() []pipeline.Input {
	var in []pipeline.Input
	for i, p := range a.Paths {
		f := pipeline.Input{Name: p}
		if i < len(a.SHA256) {
			f.Digest = "sha256:" + a.SHA256[i]
		}
		in = append(in, f)
	}
	return in
}

// Models are the files but the projectors that are loaded beside them.
func (s *State) Models() []*Artifact {
	var models []*Artifact
	for _, a := range s.Files {
		if !a.Mmproj {
			models = append(models, a)
		}
	}
	return models
}

// Projector is the file that is loaded beside the models; nil where there is none, or where it is all that is made.
func (s *State) Projector() *Artifact {
	for i, a := range s.Files {
		if a.Mmproj && i > 0 {
			return a
		}
	}
	if s.Beside != nil && s.Beside.Mmproj {
		return s.Beside
	}
	return nil
}

// Host is the model that the projector is loaded beside; nil where a projector is all that is made.
func (s *State) Host() *Artifact {
	if models := s.Models(); len(models) > 0 {
		return models[0]
	}
	return s.Beside
}

// Shut closes everything that was opened, in reverse order, and keeps the first error.
func (s *State) Shut() error {
	var first error
	for i := len(s.Close) - 1; i >= 0; i-- {
		if err := s.Close[i](); err != nil && first == nil {
			first = err
		}
	}
	s.Close = nil
	return first
}

// Files of a checkpoint: local if they have been pulled.
func (s *State) FS() fs.FS { return s.Source.FS }
