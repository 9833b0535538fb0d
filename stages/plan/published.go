package plan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/hfclient"
	"quern/quantize/policy"
	"quern/quantize/recommend"
	"quern/stages/job"
	"quern/stages/source"
)

// maxPublished bounds the files of a repository whose headers are read; the largest lists have some forty.
const maxPublished = 200

// publication is a model that is offered as GGUF: one file, or the parts of one.
type publication struct {
	names []string // in order
	parts []*gguf.File
	type_ string
	bytes int64
}

// openPublished reads the headers of a source's GGUF files, where it has those and no checkpoint. Nothing is chosen yet.
func openPublished(src fs.FS, names []string) ([]publication, error) {
	slices.Sort(names)
	var pubs []publication
	for _, name := range names {
		stem, no, n, split := gguf.ParseSplitName(path.Base(name))
		if split && no != 1 {
			continue
		}
		p := publication{names: []string{name}}
		for i := 2; split && i <= n; i++ {
			p.names = append(p.names, path.Join(path.Dir(name), gguf.SplitName(stem, i, n)))
		}
		if err := p.read(src, names); err != nil {
			return nil, err
		}
		if a := p.parts[0].Architecture(); a == "clip" || a == "imatrix" || len(p.parts[0].Outputs) == 0 && len(p.parts) == 1 {
			continue // projectors, matrices and vocabularies run on nothing by themselves
		}
		p.type_ = typeOf(name, p.parts[0])
		pubs = append(pubs, p)
	}
	return pubs, nil
}

func (p *publication) read(src fs.FS, names []string) error {
	for _, n := range p.names {
		if !slices.Contains(names, n) {
			return &fault.Invalid{On: p.names[0], Says: "part " + n + " is missing"}
		}
		f, err := readGGUF(src, n)
		if err != nil {
			return err
		}
		p.parts = append(p.parts, f)
		for _, o := range f.Outputs {
			p.bytes += o.Size
		}
	}
	return nil
}

// typeOf is the file type by the name's last word, which publishers keep to, else by the metadata.
func typeOf(name string, f *gguf.File) string {
	base := strings.TrimSuffix(path.Base(name), ".gguf")
	if stem, _, _, ok := gguf.ParseSplitName(path.Base(name)); ok {
		base = stem
	}
	words := strings.FieldsFunc(base, func(r rune) bool { return r == '-' || r == '.' })
	for i := len(words) - 1; i >= 0; i-- {
		w := strings.ToUpper(words[i])
		if w == "MXFP4" {
			return policy.MXFP4.String()
		}
		if ft, err := policy.ParseFileType(w); err == nil && w == strings.ToUpper(ft.String()) {
			return ft.String()
		}
	}
	if n, ok := f.Int("general.file_type"); ok {
		if ft := policy.FileType(n); ft.Valid() {
			return ft.String()
		}
	}
	return "F16"
}

// publishedNames are the GGUF files of a source that has no checkpoint.
func publishedNames(src fs.FS) []string {
	for _, pattern := range []string{"*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "*.pth"} {
		if m, err := fs.Glob(src, pattern); err == nil && len(m) > 0 {
			return nil
		}
	}
	names, err := fs.Glob(src, "*.gguf")
	if err != nil || len(names) > maxPublished {
		return nil
	}
	return names
}

// publishedOnHub are those of a pinned revision, whatever folder they stand in.
func publishedOnHub(rev *hfclient.Revision) []string {
	var names []string
	for _, f := range rev.Files {
		if strings.HasSuffix(strings.ToLower(f.Path), ".gguf") {
			names = append(names, f.Path)
		}
	}
	return names
}

// rankPublished weighs the files against one another by the same model as types are, and leaves the best as the source.
func rankPublished(ctx context.Context, s *job.State, names []string) error {
	pubs, err := openPublished(s.Source.FS, names)
	if err != nil {
		return err
	}
	if len(pubs) == 0 {
		return &fault.Unsupported{On: s.Model, Says: "has GGUF files, none of them a language model"}
	}
	if err := detect(ctx, s); err != nil {
		return err
	}
	shape, err := recommend.ShapeOf(&pubs[0].parts[0].Plan)
	if err != nil {
		return err
	}
	var cands []recommend.Candidate
	byType := map[string]publication{}
	for _, p := range pubs {
		var outs []gguf.Output
		loaded := int64(0)
		for _, f := range p.parts {
			outs = append(outs, f.Outputs...)
			loaded += shape.Loaded(f.Outputs)
		}
		if old, twice := byType[p.type_]; twice && old.bytes <= p.bytes {
			continue
		}
		byType[p.type_] = p
		cands = slices.DeleteFunc(cands, func(c recommend.Candidate) bool { return c.Type == p.type_ })
		shape.Params = elements(outs)
		cands = append(cands, recommend.Candidate{Type: p.type_, Weights: p.bytes, Loaded: loaded, ActiveBytes: shape.ActiveBytes(outs), BPW: 8 * float64(p.bytes) / float64(max(shape.Params, 1))})
	}
	w := s.Wish
	if len(s.Types) > 0 {
		w.Type = strings.ToUpper(s.Types[0])
		if _, ok := byType[w.Type]; !ok {
			return &fault.Unsupported{On: s.Model, Says: fmt.Sprintf("%s is not among its files; there are %s", w.Type, strings.Join(typesOf(pubs), ", ")), Next: "name one of these, or the repository with the source weights"}
		}
	}
	if s.Shape, err = wholeShape(byType, cands); err != nil {
		return err
	}
	learn(s, &w, cands)
	if s.Advice, err = recommend.Choose(s.Machine, s.Shape, cands, w); err != nil {
		return err
	}
	taught(s, w.Calibration)
	add := func(about, says string) {
		s.Advice.Reasons = append(s.Advice.Reasons, recommend.Reason{About: about, Says: says})
	}
	add("files", fmt.Sprintf("%d published, weighed from their headers", len(pubs)))
	if better := missing(s, byType); better != "" {
		add("better", better)
	}
	return take(s, byType[s.Advice.Type])
}

// wholeShape is the model's shape from all parts of one publication: a first part alone may hold no tensors.
func wholeShape(byType map[string]publication, cands []recommend.Candidate) (*recommend.Shape, error) {
	p := byType[cands[0].Type]
	all := p.parts[0].Plan
	all.Outputs = nil
	for _, f := range p.parts {
		all.Outputs = append(all.Outputs, f.Outputs...)
	}
	return recommend.ShapeOf(&all)
}

func elements(outs []gguf.Output) int64 {
	n := int64(0)
	for _, o := range outs {
		n += o.Elements()
	}
	return n
}

func typesOf(pubs []publication) []string {
	var ts []string
	for _, p := range pubs {
		if !slices.Contains(ts, p.type_) {
			ts = append(ts, p.type_)
		}
	}
	return ts
}

// missing says when a type that is not published would fit and lose less than what is.
func missing(s *job.State, byType map[string]publication) string {
	have, known := recommend.KLD(s.Advice.Type, s.Wish.Imatrix)
	if !known || !s.Advice.Runs {
		return ""
	}
	for _, ft := range offered {
		loses, ok := recommend.KLD(ft.String(), s.Wish.Imatrix)
		bits := bitsOf(ft)
		if _, published := byType[ft.String()]; published || !ok || bits == 0 || loses >= .8*have {
			continue
		}
		need := s.Shape.Needs(int64(float64(s.Shape.Params)*bits/8), s.Advice.Setting).Total()
		if float64(need) <= .85*float64(s.Advice.Budget) {
			return fmt.Sprintf("%s is not published and would fit with less loss (KL divergence %.2g, %s has %.2g): make it from the source weights", ft, loses, s.Advice.Type, have)
		}
	}
	return ""
}

// bitsOf is a type's usual number of bits per weight.
func bitsOf(ft policy.FileType) float64 {
	for _, k := range policy.Kinds() {
		if k.Type == ft {
			return k.Bits
		}
	}
	return 0
}

// take makes the chosen publication the source, to be copied as it is.
func take(s *job.State, p publication) error {
	s.Parts = p.parts
	a := &job.Artifact{Type: p.type_}
	for i, f := range p.parts {
		a.Plans = append(a.Plans, f.Plan)
		a.Firsts = append(a.Firsts, len(a.Copies))
		a.Bytes += f.FileSize
		for j := range f.Outputs {
			a.Copies = append(a.Copies, job.Ref{Part: i, Index: j})
		}
	}
	s.Files = []*job.Artifact{a}
	if s.Source.Kind == source.Folder {
		s.Source.Kind, s.Source.Path = source.GGUF, path.Join(s.Source.Path, p.names[0])
		return nil
	}
	pull, err := s.Hub.PlanPull(context.Background(), hfclient.Request{At: s.Pinned, Files: p.names})
	if err != nil {
		return err
	}
	s.Pull = pull
	return nil
}

// noCheckpoint tells the answer of a repository that has no weights to convert.
func noCheckpoint(err error) bool { return errors.Is(err, hfclient.ErrNoWeights) }
