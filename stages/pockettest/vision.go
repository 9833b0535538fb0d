package pockettest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing/fstest"

	"quern/convert/conformance"
	"quern/stages/source/pocket"
)

// Vision is a checkpoint that sees: the pocket model with a tower of random weights.
func Vision() (fs.FS, error) { return withTower("pocket-vision") }

// Hearing is a checkpoint that hears.
func Hearing() (fs.FS, error) { return withTower("pocket-hearing") }

// withTower puts the pocket model's files beside a recorded tower whose projector is as wide as the model.
func withTower(recorded string) (fs.FS, error) {
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return nil, fmt.Errorf("the source's place is not known")
	}
	tree, err := conformance.OpenBundle(filepath.Join(filepath.Dir(here), "../../convert/testdata/own-proj.tar.zst"))
	if err != nil {
		return nil, err
	}
	c, err := conformance.OpenCase(tree, "convert/"+recorded)
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
		if err == nil && strings.HasSuffix(name, ".safetensors") {
			data, err = prefixed(data, "language_model.")
		}
		all[name] = &fstest.MapFile{Data: data, Mode: 0o644}
		return err
	})
}

// prefixed puts text before the names of a safetensors file's tensors, as multimodal checkpoints do with their text model's.
func prefixed(file []byte, text string) ([]byte, error) {
	const lead = 8 // bytes of the header's length
	if len(file) < lead || binary.LittleEndian.Uint64(file) > uint64(len(file)-lead) {
		return nil, fmt.Errorf("%d bytes are no safetensors file", len(file))
	}
	data := file[lead+binary.LittleEndian.Uint64(file):]
	var head, renamed = map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if err := json.Unmarshal(file[lead:len(file)-len(data)], &head); err != nil {
		return nil, err
	}
	for name, entry := range head {
		if name != "__metadata__" {
			name = text + name
		}
		renamed[name] = entry
	}
	b, err := json.Marshal(renamed)
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(b))), b, data), err
}
