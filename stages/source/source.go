// Package source finds out what a MODEL argument names: a checkpoint folder, a repository on the Hub or a GGUF file of one,
// the built-in model or a GGUF file. Everything after it sees an fs.FS whose files implement io.ReaderAt.
package source

import (
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"quern/convert/fault"
	"quern/stages/source/pocket"
)

// Kind is what an argument names.
type Kind string

// The kinds.
const (
	Folder  Kind = "folder"
	Hub     Kind = "hub"
	Builtin Kind = "builtin"
	GGUF    Kind = "gguf"
)

// Source is a model's origin. FS is nil for a Hub repository until it is opened.
type Source struct {
	Arg      string `json:"model"`
	Kind     Kind   `json:"kind"`
	Name     string `json:"name"`               // last part of the repository's id or path: it names the outputs
	Path     string `json:"path,omitempty"`     // of a folder or file
	Repo     string `json:"repo,omitempty"`     // org/name
	Revision string `json:"revision,omitempty"` // as asked for
	Commit   string `json:"commit,omitempty"`   // 40 hex digits, once resolved
	File     string `json:"file,omitempty"`     // of a repository: the GGUF file in it that is meant, or its first part
	FS       fs.FS  `json:"-"`
}

// NotFoundError is a path that does not exist. It is an fs.ErrNotExist.
type NotFoundError struct{ Arg string }

// Error names the argument.
func (e *NotFoundError) Error() string { return e.Arg + ": there is no such file or folder" }

// Hint shows the forms.
func (e *NotFoundError) Hint() string {
	return "MODEL is org/name, org/name@revision, hf:org/name/file.gguf, a checkpoint folder, a .gguf file, or pocket"
}

// Is makes the error an fs.ErrNotExist.
func (e *NotFoundError) Is(target error) bool { return target == fs.ErrNotExist }

var repoID = regexp.MustCompile(`^[\w\-.]{1,96}(/[\w\-.]{1,96})?(@[^@]+)?$`)

// hubPrefix marks an argument that is of the Hub even where a file or folder of that name lies here.
const hubPrefix = "hf:"

// hubFile is org/name[@revision]/path.gguf. Of revisions with a slash, the Hub's own references are known.
var hubFile = regexp.MustCompile(`^([\w\-.]+/[\w\-.]+)(?:@(refs/(?:pr|convert)/[^/@]+|[^/@]+))?/(.+\.(?i:gguf))$`)

// Parse says what arg names, by looking at the local disk only. An existing path wins over a repository's name; "pocket" is
// the built-in model unless it is written as a path.
func Parse(arg string) (*Source, error) {
	if arg == pocket.Name {
		src, err := pocket.FS()
		if err != nil {
			return nil, err
		}
		return &Source{Arg: arg, Kind: Builtin, Name: pocket.Name, FS: src}, nil
	}
	if ref, ok := strings.CutPrefix(arg, hubPrefix); ok {
		return hub(arg, ref)
	}
	fi, err := os.Stat(arg)
	switch {
	case err == nil && fi.IsDir():
		return folder(arg)
	case err == nil && strings.EqualFold(filepath.Ext(arg), ".gguf"):
		name := strings.TrimSuffix(filepath.Base(arg), filepath.Ext(arg))
		return &Source{Arg: arg, Kind: GGUF, Name: name, Path: arg, FS: os.DirFS(filepath.Dir(arg))}, nil
	case err == nil:
		return nil, &fault.Unsupported{On: arg, Says: "is neither a folder nor a .gguf file", Next: (&NotFoundError{}).Hint()}
	case looksLikePath(arg):
		return nil, &NotFoundError{arg}
	}
	return hub(arg, arg)
}

// hub reads org/name, with a revision or a file.
func hub(arg, ref string) (*Source, error) {
	if m := hubFile.FindStringSubmatch(ref); m != nil {
		return &Source{Arg: arg, Kind: Hub, Name: strings.TrimSuffix(path.Base(m[3]), path.Ext(m[3])), Repo: m[1], Revision: m[2], File: m[3]}, nil
	}
	if !repoID.MatchString(ref) || strings.HasPrefix(ref, ".") {
		return nil, &NotFoundError{arg}
	}
	repo, rev, _ := strings.Cut(ref, "@")
	return &Source{Arg: arg, Kind: Hub, Name: repo[strings.LastIndex(repo, "/")+1:], Repo: repo, Revision: rev}, nil
}

// IsGGUF tells whether the source is a GGUF file, here or on the Hub.
func (s *Source) IsGGUF() bool { return s.Kind == GGUF || s.File != "" }

// PinnedArg is the argument that names a repository's commit, or a GGUF file (empty: none) of it.
func PinnedArg(repo, commit, file string) string {
	if file == "" {
		return repo + "@" + commit
	}
	return hubPrefix + repo + "@" + commit + "/" + file
}

func looksLikePath(arg string) bool {
	return !repoID.MatchString(arg) || strings.HasPrefix(arg, ".") || strings.EqualFold(filepath.Ext(arg), ".gguf")
}

func folder(arg string) (*Source, error) {
	path, err := filepath.Abs(arg)
	if err != nil {
		return nil, err
	}
	return &Source{Arg: arg, Kind: Folder, Name: filepath.Base(path), Path: path, FS: os.DirFS(path)}, nil
}

// maxText bounds a text that is read whole.
const maxText = 1 << 30

// ReadFile reads a small file of a source whole.
func ReadFile(src fs.FS, name string) ([]byte, error) {
	f, err := src.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxText))
}
