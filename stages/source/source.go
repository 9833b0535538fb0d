// Package source finds out what a MODEL argument names: a checkpoint folder, a repository on the Hub, the built-in model or
// a GGUF file. Everything after it sees an fs.FS whose files implement io.ReaderAt.
package source

import (
	"io"
	"io/fs"
	"os"
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
	FS       fs.FS  `json:"-"`
}

// NotFoundError is a path that does not exist. It is an fs.ErrNotExist.
type NotFoundError struct{ Arg string }

// Error names the argument.
func (e *NotFoundError) Error() string { return e.Arg + ": there is no such file or folder" }

// Hint shows the forms.
func (e *NotFoundError) Hint() string {
	return "MODEL is org/name, org/name@revision, a checkpoint folder, a .gguf file, or pocket"
}

// Is makes the error an fs.ErrNotExist.
func (e *NotFoundError) Is(target error) bool { return target == fs.ErrNotExist }

var repoID = regexp.MustCompile(`^[\w\-.]{1,96}(/[\w\-.]{1,96})?(@[^@]+)?$`)

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
	repo, rev, _ := strings.Cut(arg, "@")
	return &Source{Arg: arg, Kind: Hub, Name: repo[strings.LastIndex(repo, "/")+1:], Repo: repo, Revision: rev}, nil
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
