package publish

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"quern/hfclient"
	"quern/pipeline"
	"quern/stages/place"
	"quern/stages/source"

	"github.com/google/renameio/v2"
)

// toDir puts everything into a folder, with checksums that sha256sum reads.
func toDir(ctx context.Context, f *Folder, t Target, o Options, _ pipeline.Events) (*Done, error) {
	d := &Done{URL: t.Name}
	for _, a := range f.Files {
		if err := d.place(ctx, a, filepath.Join(t.Name, a.Name), o); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// toLMStudio puts the models where LM Studio looks: publisher/name below its folder.
func toLMStudio(ctx context.Context, f *Folder, t Target, o Options, _ pipeline.Events) (*Done, error) {
	root, err := lmStudioModels(o.Env)
	if err != nil {
		return nil, err
	}
	d := &Done{URL: filepath.Join(root, filepath.FromSlash(t.Name)), Run: "lms load " + t.Name}
	for _, a := range f.loaded() {
		if err := d.place(ctx, a, filepath.Join(d.URL, a.Name), o); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// toLlamaCpp adds the models to the cache of llama.cpp's own downloads, which in v0.5.0 is laid out as that of the Hub's clients: there
// -hf finds them under the name, without a network.
func toLlamaCpp(ctx context.Context, f *Folder, t Target, o Options, _ pipeline.Events) (*Done, error) {
	c := hfclient.Local{Root: llamaCache(o), Repo: t.Name}
	for _, a := range f.loaded() {
		c.Files = append(c.Files, hfclient.File{Path: a.Name, Size: a.Size, SHA256: a.SHA256})
	}
	d := &Done{URL: c.Dir(), Version: c.Commit(), Run: fmt.Sprintf("llama-server --offline -hf %s:%s", t.Name, f.Models[len(f.Models)-1].Receipt.Type)}
	if err := c.Check(); err != nil {
		return nil, err
	}
	for _, a := range f.loaded() {
		if err := d.place(ctx, a, c.Blob(a.SHA256), o); err != nil {
			return nil, err
		}
	}
	if o.DryRun {
		return d, nil
	}
	return d, c.Point()
}

// loaded are the files that programs load: models and projectors, each once.
func (f *Folder) loaded() []Asset {
	var all []Asset
	for _, a := range f.Files {
		if strings.HasSuffix(a.Name, ".gguf") {
			all = append(all, a)
		}
	}
	return all
}

// place brings one file to a path of this machine. What is there with the same bytes stays.
func (d *Done) place(ctx context.Context, a Asset, to string, o Options) error {
	m := Move{File: a.Name, To: to, Bytes: a.Size}
	defer func() { d.Moves = append(d.Moves, m) }()
	if o.DryRun {
		return nil
	}
	if fi, err := os.Stat(to); err == nil && fi.Mode().IsRegular() && fi.Size() == a.Size {
		digest, _, err := source.SumFile(ctx, to)
		if err != nil {
			return err
		}
		if digest == "sha256:"+a.SHA256 {
			m.How = string(place.There)
			return nil
		}
	}
	if a.Path == "" {
		m.How = "written"
		if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
			return err
		}
		return renameio.WriteFile(to, a.Data, 0o644)
	}
	way, err := place.Share(ctx, a.Path, to)
	m.How = string(way)
	return err
}

// llamaCache is the folder by the variables that llama.cpp v0.5.0 reads, in its order (common/hf-cache.cpp).
func llamaCache(o Options) string {
	if dir := o.Env("LLAMA_CACHE"); dir != "" {
		return dir
	}
	return o.Hub.CacheDir()
}

// lmStudioModels is the folder of LM Studio's models: the one that its settings name, else models/ in its home, which a file in the
// user's home may lead to.
func lmStudioModels(env func(string) string) (string, error) {
	home := env("HOME")
	if home == "" {
		var err error
		if home, err = os.UserHomeDir(); err != nil {
			return "", err
		}
	}
	base := filepath.Join(home, ".lmstudio")
	if b, err := os.ReadFile(filepath.Join(home, ".lmstudio-home-pointer")); err == nil {
		if fi, err := os.Stat(strings.TrimSpace(string(b))); err == nil && fi.IsDir() {
			base = strings.TrimSpace(string(b))
		}
	}
	var settings struct {
		Folder string `json:"downloadsFolder"`
	}
	if b, err := os.ReadFile(filepath.Join(base, "settings.json")); err == nil && json.Unmarshal(b, &settings) == nil && filepath.IsAbs(settings.Folder) {
		return settings.Folder, nil
	}
	return filepath.Join(base, "models"), nil
}
