package plan

import (
	"context"

	"quern/convert/config"
	"quern/convert/fault"
	"quern/stages/job"
	"quern/stages/source"
)

// Config is the completed configuration of a checkpoint as one JSON object. It needs nothing but config.json.
func Config(ctx context.Context, s *job.State) ([]byte, error) {
	var err error
	if s.Source, err = source.Parse(s.Model); err != nil {
		return nil, err
	}
	if s.Source.IsGGUF() {
		return nil, &fault.Unsupported{On: s.Model, Says: "a GGUF file has no config.json", Next: "`quern inspect` shows its metadata"}
	}
	if s.Source.Kind == source.Hub {
		if err := openHub(ctx, s); err != nil {
			return nil, err
		}
	}
	dir := s.Source.Path
	if dir == "" {
		dir = s.Source.Name
	}
	cfg, err := config.Load(s.Source.FS, dir)
	if err != nil {
		return nil, err
	}
	return cfg.JSON(), nil
}
