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
	if may, err := mayHaveTower(src, o); !may || err != nil {
		return nil, err
	}
	m, err := Open(ctx, src, Options{Dir: o.Dir, Repo: o.Repo, Projector: true, ModelName: o.ModelName, Metadata: o.Metadata, Strict: o.Strict, FP8AsQ8: o.FP8AsQ8,
		Mistral: o.Mistral})
	var none *arch.NoTowerError
	if errors.As(err, &none) {
		return nil, nil
	}
	return m, err
}

// mayHaveTower tells whether a checkpoint is of a class that has projectors, or says that it has a tower.
func mayHaveTower(src fs.FS, o Options) (bool, error) {
	if o.Mistral {
		return true, nil
	}
	cfg, err := config.Load(src, o.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		_, err := fs.Stat(src, paramsFile)
		return err == nil, nil
	}
	if err != nil {
		return false, err
	}
	name, err := cfg.ProjectorArchitecture()
	if err != nil {
		return false, nil // the text model was converted as a class that the user named
	}
	_, ok := arch.LookupProjector(name)
	return ok || cfg.True("vision_config") || cfg.True("audio_config"), nil
}
