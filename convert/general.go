package convert

import (
	"quern/convert/card"
	"quern/convert/gguf"
)

// general makes general.* of the model card, the names and the counted parameters, and the file's default name.
func (p *planner) general() ([]gguf.KV, error) {
	kvs, info, err := card.Metadata(card.Input{
		Source: p.src, Folder: baseName(p.o.Dir), Repo: p.o.Repo, Config: p.config, Params: p.m.Params,
		Override: p.o.Metadata, ModelName: p.o.ModelName, Strict: p.o.Strict,
	})
	if err != nil {
		return nil, err
	}
	p.m.Card = info
	p.m.Name = p.fileName(info.Parts)
	p.m.Warnings = append(p.m.Warnings, info.Warnings...)
	return kvs, nil
}

// fileName is the default name, by the convention of GGUF files.
func (p *planner) fileName(parts card.Parts) string {
	_, label := p.build.FileType()
	switch {
	case p.o.VocabOnly:
		return parts.VocabFileName()
	case p.o.Projector:
		parts.SizeLabel = ""
		return "mmproj-" + parts.FileName(label, false)
	case p.o.MTPOnly:
		parts.SizeLabel = ""
		return "mtp-" + parts.FileName(label, false)
	}
	return parts.FileName(label, false)
}
