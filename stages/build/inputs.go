package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"quern/pipeline"
	"quern/stages/job"
	"quern/stages/source"
)

// Inputs pins what the build reads: digests from the Hub, and for local files their size and time, since hashing a
// checkpoint before every run would cost as much as the run.
func Inputs(s *job.State) ([]pipeline.Input, error) {
	var in []pipeline.Input
	if s.BaseOf != nil { // its configuration decides names and orders that the adapter's header does not show
		b, err := source.ReadFile(s.BaseOf.FS, "config.json")
		if err != nil {
			return nil, err
		}
		in = append(in, pipeline.Input{Name: "base/config.json", Digest: fmt.Sprintf("sha256:%x", sha256.Sum256(b))})
	}
	switch s.Source.Kind {
	case source.Hub:
		for _, f := range s.Pull.Files {
			in = append(in, pipeline.Input{Name: s.Source.Repo + "/" + f.Path, Digest: f.Digest()})
		}
		return in, nil
	case source.Builtin:
		return append(in, pipeline.Input{Name: s.Source.Name, Digest: "built-in"}), nil
	case source.GGUF:
		for _, p := range s.Parts {
			d, err := stat(s.Source.FS, p.Name)
			if err != nil {
				return nil, err
			}
			in = append(in, pipeline.Input{Name: p.Name, Digest: d})
		}
		return in, nil
	}
	names, err := files(s.Source.FS)
	for _, name := range names {
		d, err := stat(s.Source.FS, name)
		if err != nil {
			return nil, err
		}
		in = append(in, pipeline.Input{Name: name, Digest: d})
	}
	return in, err
}

// files are those of a folder and of the folders in it, where modules of some models stand: hidden ones and deeper ones do not count.
func files(src fs.FS) ([]string, error) {
	var out []string
	err := fs.WalkDir(src, ".", func(name string, d fs.DirEntry, err error) error {
		hidden := name != "." && strings.HasPrefix(path.Base(name), ".")
		switch {
		case err != nil:
			return err
		case d.IsDir() && (hidden || strings.Contains(name, "/")):
			return fs.SkipDir
		case !d.IsDir() && !(hidden && strings.Contains(name, "/")):
			out = append(out, name)
		}
		return nil
	})
	return out, err
}

func stat(src fs.FS, name string) (string, error) {
	fi, err := fs.Stat(src, name)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("stat:%d:%d", fi.Size(), fi.ModTime().UnixNano()), nil
}

// planDigest pins everything that was decided about a file: metadata, names, types and offsets are all in its header.
func planDigest(a *job.Artifact) string {
	h := sha256.New()
	for i := range a.Plans {
		if err := a.Plans[i].WriteHeader(h); err != nil {
			fmt.Fprint(h, err) // such a plan fails when it is written
		}
	}
	return hex.EncodeToString(h.Sum(nil))
}
