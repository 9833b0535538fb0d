package tokens

import (
	"context"
	"io/fs"
	"path"
	"strings"

	"quern/hfclient"
	"quern/stages/job"
)

// small are the files at the root of a repository that say something about its tokenizer.
var small = []string{
	"config.json", "generation_config.json", "README.md", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab*", "merges.txt",
	"*.model", "*.model.v*", "*.tiktoken", "tekken.json", "rwkv_vocab*", "chat_template*", "additional_chat_templates/*.jinja",
}

// openHub pins the revision and fetches those files.
func openHub(ctx context.Context, s *job.State) error {
	src := s.Source
	ref := src.Repo
	if src.Revision != "" {
		ref += "@" + src.Revision
	}
	repo, rev, err := hfclient.ParseRef(ref)
	if err != nil {
		return err
	}
	if s.Pinned, err = s.Hub.Resolve(ctx, repo, rev); err != nil {
		return err
	}
	src.Repo, src.Revision, src.Commit = repo, rev, s.Pinned.Commit
	s.Remote = s.Hub.FS(ctx, s.Pinned)
	if src.FS = (light{s.Remote}); src.File != "" {
		src.FS = s.Remote
		return nil
	}
	var files []hfclient.File
	for _, f := range s.Pinned.Files {
		if matches(f.Path) {
			files = append(files, f)
		}
	}
	return s.Remote.Warm(ctx, files)
}

// matches tells the files that are read.
func matches(name string) bool {
	for _, pattern := range small {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			return true
		}
	}
	return false
}

// light is a file system that shows no weights: a vocabulary is read without them.
type light struct{ fs.FS }

// Open finds no weights and no list of them.
func (l light) Open(name string) (fs.File, error) {
	switch ext := path.Ext(name); {
	case ext == ".safetensors", ext == ".bin", ext == ".pth", ext == ".gguf", strings.HasSuffix(name, ".index.json"):
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return l.FS.Open(name)
}
