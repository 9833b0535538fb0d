package pockettest

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"testing/fstest"

	"quern/convert/conformance"
	"quern/stages/source/pocket"
)

// visionCase describes a vision tower of random weights whose projector is as wide as the pocket model.
const visionCase = "pocket-vision"

// Vision is a checkpoint that sees: the pocket model with a tower of random weights.
func Vision() (fs.FS, error) {
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return nil, fmt.Errorf("the source's place is not known")
	}
	tree, err := conformance.OpenBundle(filepath.Join(filepath.Dir(here), "../../convert/testdata/own-proj.tar.zst"))
	if err != nil {
		return nil, err
	}
	c, err := conformance.OpenCase(tree, "convert/"+visionCase)
	if err != nil {
		return nil, err
	}
	tower, err := c.Checkpoint()
	if err != nil {
		return nil, err
	}
	all, ok := tower.(fstest.MapFS)
	if !ok {
		return nil, fmt.Errorf("a checkpoint is no files in memory: %T", tower)
	}
	text, err := pocket.FS()
	if err != nil {
		return nil, err
	}
	all["model-tower.safetensors"] = all["model.safetensors"]
	return all, fs.WalkDir(text, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == "config.json" {
			return err
		}
		data, err := fs.ReadFile(text, name)
		all[name] = &fstest.MapFile{Data: data, Mode: 0o644}
		return err
	})
}
