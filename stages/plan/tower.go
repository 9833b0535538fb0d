package plan

import (
	"context"
	"fmt"
	"strings"

	"quern/convert"
	"quern/convert/gguf"
	"quern/stages/job"
)

// towerPrefix begins the names of projectors, as llama.cpp's tools expect.
const towerPrefix = "mmproj-"

// OpenTower plans the projector of a checkpoint that sees or hears: it is made beside the model. One that cannot be converted is
// a warning, since the text model works without it. It is planned once: states that are copied from this one share it.
func OpenTower(ctx context.Context, s *job.State) error {
	o := s.Convert
	if s.Make != job.Recommended || s.Checked == nil || s.Adapter || s.NoTower || s.Tower != nil ||
		o.Projector || o.VocabOnly || o.MTPOnly || o.DSpark || o.Target != nil {
		return nil
	}
	o.Dir, o.Repo = s.Source.Path, s.Source.Repo
	if o.Dir == "" {
		o.Dir = s.Source.Name
	}
	m, err := convert.OpenTower(ctx, s.Source.FS, o)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		s.Checked.Warnings = append(s.Checked.Warnings, "no projector is made beside the model: "+err.Error())
		return nil
	}
	if m != nil {
		s.Tower = m
		s.Close = append(s.Close, m.Close)
	}
	return nil
}

// projector is the artifact of a planned tower: the converter's own file in one part.
func projector(m *convert.Model) (*job.Artifact, error) {
	parts, err := m.Plan.Split(gguf.Splitting{})
	if err != nil {
		return nil, err
	}
	a := &job.Artifact{Type: m.Type.Label(), Model: m, Mmproj: true}
	a.SetParts(parts)
	return a, nil
}

// towerBytes is what the projector's weights take in memory.
func towerBytes(s *job.State) int64 {
	if s.Tower == nil {
		return 0
	}
	n := int64(0)
	for _, o := range s.Tower.Plan.Outputs {
		n += o.Size
	}
	return n
}

// towerText says what a projector is for: "BF16 89 MB, for pictures; loaded with --mmproj".
func towerText(a *job.Artifact) string {
	var senses []string
	for _, sense := range []struct{ key, word string }{{"clip.has_vision_encoder", "pictures"}, {"clip.has_audio_encoder", "sound"}, {"clip.has_gen_audio_encoder", "speech"}} {
		if v, ok := a.Plans[0].Bool(sense.key); ok && v {
			senses = append(senses, sense.word)
		}
	}
	return fmt.Sprintf("%-8s %s, for %s; llama.cpp loads it with --mmproj", a.Type, Size(a.Bytes), strings.Join(senses, " and "))
}
