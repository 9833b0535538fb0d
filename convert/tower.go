package convert

import (
	"context"
	"errors"
	"io/fs"

	"quern/convert/arch"
	"quern/convert/config"
)

// OpenTower plans the projector of a checkpoint whose text model is converted with the options too, in the precision of the
// stored weights. It is nil where the checkpoint has neither a vision nor an audio tower; an error says why a tower that is
// there cannot be converted.
func OpenTower(ctx context.Context, src fs.FS, o Options) (*Model, error) {
	cfg, err := config.Load(src, o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	name, err := cfg.ProjectorArchitecture()
	if err != nil {
		return nil, nil // the text model was converted as a class that the user named
	}
	if _, ok := arch.LookupProjector(name); !ok && !cfg.True("vision_config") && !cfg.True("audio_config") {
		return nil, nil
	}
	m, err := Open(ctx, src, Options{Dir: o.Dir, Repo: o.Repo, Projector: true, ModelName: o.ModelName, Metadata: o.Metadata, Strict: o.Strict, FP8AsQ8: o.FP8AsQ8})
	var none *arch.NoTowerError
	if errors.As(err, &none) {
		return nil, nil
	}
	return m, err
}
