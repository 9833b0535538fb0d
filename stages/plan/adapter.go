package plan

import (
	"context"
	"errors"
	"io/fs"

	"quern/convert"
	"quern/convert/fault"
	"quern/convert/lora"
	"quern/hfclient"
	"quern/stages/job"
	"quern/stages/source"
)

// openAdapter reads the headers of a LoRA adapter and the configuration of its base: Source, BaseOf and Checked.
func openAdapter(ctx context.Context, s *job.State) error {
	if err := openAdapterFiles(ctx, s); err != nil {
		return err
	}
	if err := openBase(ctx, s); err != nil {
		return err
	}
	o := s.Convert
	o.Dir, o.Repo = s.Source.Path, s.Source.Repo
	if o.Dir == "" {
		o.Dir = s.Source.Name
	}
	base := convert.Base{Source: s.BaseOf.FS, Dir: s.BaseOf.Path}
	if base.Dir == "" {
		base.Dir = s.BaseOf.Name
	}
	m, err := convert.OpenAdapter(ctx, s.Source.FS, base, o)
	if err != nil {
		return err
	}
	s.Checked = m
	s.Close = append(s.Close, m.Close)
	return nil
}

// openAdapterFiles finds the adapter's folder or repository.
func openAdapterFiles(ctx context.Context, s *job.State) error {
	if s.Source != nil {
		return nil
	}
	src, err := source.Parse(s.Model)
	if err != nil {
		return err
	}
	s.Source = src
	switch src.Kind {
	case source.Hub:
		return openHub(ctx, s)
	case source.Folder:
		return nil
	}
	return &fault.Unsupported{On: s.Model, Says: "is not the folder or repository of a LoRA adapter", Next: "an adapter has " + lora.ConfigFile + " and " + lora.Weights}
}

// BaseName is the base of an adapter: the one that the user names, else the one that the adapter names.
func BaseName(ctx context.Context, s *job.State) (string, error) {
	if s.Base != "" {
		return s.Base, nil
	}
	if err := openAdapterFiles(ctx, s); err != nil {
		return "", err
	}
	c, err := lora.ReadConfig(s.Source.FS)
	if err != nil {
		return "", err
	}
	if c.Base == "" {
		return "", &fault.Invalid{On: s.Model, Says: lora.ConfigFile + " names no base_model_name_or_path", Next: "--base MODEL names the base"}
	}
	if c.Revision != "" {
		if src, err := source.Parse(c.Base); err == nil && src.Kind == source.Hub {
			return c.Base + "@" + c.Revision, nil
		}
	}
	return c.Base, nil
}

// openBase opens the base for its configuration and tokenizer: weights are not asked for. A GGUF file has no
// configuration, so then the adapter says where that is.
func openBase(ctx context.Context, s *job.State) error {
	named := s.Base
	if src, err := source.Parse(named); named != "" && err == nil && src.Kind == source.GGUF {
		named = ""
	}
	s2 := *s
	s2.Base = named
	name, err := BaseName(ctx, &s2)
	if err != nil {
		return err
	}
	src, err := source.Parse(name)
	if errors.Is(err, fs.ErrNotExist) && named == "" {
		return &fault.Invalid{On: s.Model, Says: "its base " + name + " is not here", Next: "--base MODEL names another folder, or a repository on the Hub"}
	}
	if err != nil {
		return err
	}
	s.BaseOf = src
	switch src.Kind {
	case source.GGUF:
		return &fault.Unsupported{On: name, Says: "a GGUF file has no config.json", Next: "--base MODEL names the base's folder or repository"}
	case source.Hub:
		return openRemoteBase(ctx, s, name)
	}
	return nil
}

func openRemoteBase(ctx context.Context, s *job.State, name string) error {
	repo, rev, err := hfclient.ParseRef(name)
	if err != nil {
		return err
	}
	at, err := s.Hub.Resolve(ctx, repo, rev)
	if err != nil {
		return err
	}
	s.BaseOf.Repo, s.BaseOf.Revision, s.BaseOf.Commit = repo, rev, at.Commit
	s.BaseOf.FS = s.Hub.FS(ctx, at)
	return nil
}
