package plan

import (
	"context"
	"path"
	"strings"

	"quern/quantize/recommend"
	"quern/stages/job"
	"quern/stages/record"
)

// Subject is what is known of a GGUF file before it runs here: a record to be filled with measurements, and the prediction for
// it on this machine, which is nil where the model has no layers to weigh. A receipt beside the file tells where it comes from.
func Subject(ctx context.Context, file string) (record.Record, *recommend.Choice, error) {
	s := &job.State{}
	s.Model = file
	if err := Open(ctx, s); err != nil {
		return record.Record{}, nil, err
	}
	if err := detect(ctx, s); err != nil {
		return record.Record{}, nil, err
	}
	p := Base(s)
	r := record.New(s.Machine)
	r.Path, r.Arch, r.Type = file, p.Architecture(), typeOf(s.Parts[0].Name, s.Parts[0])
	var data int64
	for _, o := range p.Outputs {
		data += o.Size
	}
	for _, f := range s.Parts {
		r.Bytes += f.FileSize
	}
	if n := elements(p.Outputs); n > 0 {
		r.BPW = 8 * float64(data) / float64(n)
	}
	name, _ := p.String("general.name")
	r.Model = nameOf(name, s.Parts[0].Name, r.Type)
	if rec, err := record.ReadReceipt(file + record.Suffix); err == nil {
		r.From(rec)
	}
	var err error
	if s.Shape, err = recommend.ShapeOf(p); err != nil {
		return r, nil, nil // nothing to weigh: an encoder of another kind, or a projector
	}
	cand := recommend.Candidate{Type: r.Type, Weights: data, ActiveBytes: s.Shape.ActiveBytes(p.Outputs), BPW: r.BPW}
	s.Advice, err = recommend.Choose(s.Machine, s.Shape, []recommend.Candidate{cand}, recommend.Wish{Type: r.Type})
	if err != nil {
		return r, nil, err
	}
	r.Expected, r.Needs = s.Advice.Shipped, record.Needs(s, data)
	r.Run = s.Advice.Setting.Server(record.Quote(file))
	return r, s.Advice, nil
}

// nameOf is the model's name without its type: the metadata's, else the file's.
func nameOf(stated, file, kind string) string {
	if stated != "" {
		return stated
	}
	base := strings.TrimSuffix(path.Base(file), ".gguf")
	if cut := len(base) - len(kind); cut > 1 && strings.EqualFold(base[cut:], kind) {
		base = strings.TrimRight(base[:cut], "-._")
	}
	return base
}
