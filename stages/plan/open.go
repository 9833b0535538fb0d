package plan

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"path/filepath"

	"quern/convert"
	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/hfclient"
	"quern/stages/job"
	"quern/stages/source"
)

// defaultRevision is the Hub's branch where none is named.
const defaultRevision = "main"

// Open finds out what the MODEL argument names and reads its headers: Source and Checked, or Parts.
// A source that is open already stays as it is.
func Open(ctx context.Context, s *job.State) error {
	if s.Checked != nil || s.Parts != nil {
		return nil
	}
	if s.Adapter {
		return openAdapter(ctx, s)
	}
	var err error
	if s.Source, err = source.Parse(s.Model); err != nil {
		return err
	}
	switch s.Source.Kind {
	case source.GGUF:
		return openGGUF(s)
	case source.Folder:
		if names := publishedNames(s.Source.FS); len(names) > 0 && s.Make == job.Recommended {
			return rankPublished(ctx, s, names)
		}
		if onlyConfig(s.Source.FS) && !s.Convert.VocabOnly {
			f, err := Sketch(s.Source.FS)
			if f != nil {
				s.Parts = []*gguf.File{f}
			}
			if f != nil || err != nil {
				return err
			}
		}
	case source.Hub:
		if err := openHub(ctx, s); err != nil || s.Parts != nil {
			return err
		}
	}
	return openCheckpoint(ctx, s)
}

// openHub pins the revision and makes its files readable by range.
func openHub(ctx context.Context, s *job.State) error {
	src := s.Source
	rev := src.Revision
	if rev == "" {
		rev = defaultRevision
	}
	repo, rev, err := hfclient.ParseRef(src.Repo + "@" + rev)
	if err != nil {
		return err
	}
	if s.Pinned, err = s.Hub.Resolve(ctx, repo, rev); err != nil {
		return err
	}
	src.Repo, src.Revision, src.Commit = repo, rev, s.Pinned.Commit
	s.Remote = s.Hub.FS(ctx, s.Pinned)
	src.FS = source.NewSwitch(s.Remote)
	if src.File != "" {
		return openPinnedGGUF(ctx, s)
	}
	if s.Pull, err = s.Hub.PlanPull(ctx, hfclient.Request{At: s.Pinned, Want: hfclient.Want{Pickle: s.Adapter, Mistral: s.Convert.Mistral}}); err != nil {
		if names := publishedOnHub(s.Pinned); len(names) > 0 && len(names) <= maxPublished && s.Make == job.Recommended && noCheckpoint(err) {
			return rankPublished(ctx, s, names)
		}
		return err
	}
	return s.Remote.Warm(ctx, s.Pull.Choice.Files())
}

// openPinnedGGUF reads the headers of a GGUF file of a pinned revision by range.
func openPinnedGGUF(ctx context.Context, s *job.State) error {
	names, err := partNames(s, s.Source.File)
	if err != nil {
		return err
	}
	if s.Pull, err = s.Hub.PlanPull(ctx, hfclient.Request{At: s.Pinned, Files: names}); err != nil {
		return err
	}
	return readParts(s, names)
}

func openCheckpoint(ctx context.Context, s *job.State) error {
	o := s.Convert
	o.Dir, o.Repo = s.Source.Path, s.Source.Repo
	if o.Dir == "" {
		o.Dir = s.Source.Name
	}
	o.Prover = s.Prover
	m, err := convert.Open(ctx, s.Source.FS, o)
	if err != nil {
		return err
	}
	s.Checked = m
	s.Close = append(s.Close, m.Close)
	return nil
}

// openGGUF reads the headers of a file and, when it is the first part of a split model, of its other parts.
func openGGUF(s *job.State) error {
	names, err := partNames(s, filepath.Base(s.Source.Path))
	if err != nil {
		return err
	}
	return readParts(s, names)
}

// partNames are the files of the model that name is of. The source of a split one is called by the parts' common name.
func partNames(s *job.State, name string) ([]string, error) {
	dir, base := path.Split(name)
	stem, no, n, ok := gguf.ParseSplitName(base)
	if !ok {
		return []string{name}, nil
	}
	if no != 1 {
		return nil, &fault.Invalid{On: s.Model, Says: "is a later part of a split model", Next: "name the first part, " + dir + gguf.SplitName(stem, 1, n)}
	}
	s.Source.Name = stem
	var names []string
	for i := 1; i <= n; i++ {
		names = append(names, dir+gguf.SplitName(stem, i, n))
	}
	return names, nil
}

func readParts(s *job.State, names []string) error {
	for _, name := range names {
		f, err := readGGUF(s.Source.FS, name)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) && len(names) > 1 {
				return &fault.Invalid{On: s.Model, Says: "part " + name + " is missing", Err: err}
			}
			return err
		}
		s.Parts = append(s.Parts, f)
	}
	return nil
}

func readGGUF(src fs.FS, name string) (*gguf.File, error) {
	f, err := src.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, ok := f.(io.ReaderAt)
	if !ok {
		return nil, errors.New(name + " cannot be read by range")
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return gguf.Read(name, r, fi.Size())
}
