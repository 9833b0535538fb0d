package pockettest

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"slices"
	"testing/fstest"

	"quern/convert/conformance"
	"quern/stages/source/pocket"
)

// Vision is a checkpoint that sees: the pocket model with a tower of random weights.
func Vision() (fs.FS, error) { return withTower("pocket-vision") }

// Hearing is a checkpoint that hears.
func Hearing() (fs.FS, error) { return withTower("pocket-hearing") }

// Two files hold the weights, as multimodal checkpoints of any size have them.
const (
	weights    = "model.safetensors"
	towerPart  = "model-00001-of-00002.safetensors"
	textPart   = "model-00002-of-00002.safetensors"
	textPrefix = "language_model."
)

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
	all[towerPart] = all[weights]
	delete(all, weights)
	err = fs.WalkDir(text, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == "config.json" {
			return err
		}
		data, err := fs.ReadFile(text, name)
		if name == weights {
			name = textPart
		}
		all[name] = &fstest.MapFile{Data: data, Mode: 0o644}
		return err
	})
	if err != nil {
		return nil, err
	}
	return all, index(all)
}

// index gives the text model's tensors the prefix that multimodal checkpoints have, and says which file holds what.
func index(all fstest.MapFS) error {
	where := map[string]string{}
	for part, prefix := range map[string]string{towerPart: "", textPart: textPrefix} {
		data, names, err := prefixed(all[part].Data, prefix)
		if err != nil {
			return fmt.Errorf("%s: %w", part, err)
		}
		all[part] = &fstest.MapFile{Data: data, Mode: 0o644}
		for _, n := range names {
			where[n] = part
		}
	}
	b, err := json.Marshal(map[string]any{"metadata": map[string]any{}, "weight_map": where})
	all[weights+".index.json"] = &fstest.MapFile{Data: b, Mode: 0o644}
	return err
}

// prefixed puts text before the names of a safetensors file's tensors.
func prefixed(file []byte, text string) (renamed []byte, names []string, err error) {
	const lead = 8 // bytes of the header's length
	if len(file) < lead || binary.LittleEndian.Uint64(file) > uint64(len(file)-lead) {
		return nil, nil, fmt.Errorf("%d bytes are no safetensors file", len(file))
	}
	data := file[lead+binary.LittleEndian.Uint64(file):]
	head, out := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	if err := json.Unmarshal(file[lead:len(file)-len(data)], &head); err != nil {
		return nil, nil, err
	}
	for name, entry := range head {
		if name != "__metadata__" {
			name = text + name
			names = append(names, name)
		}
		out[name] = entry
	}
	b, err := json.Marshal(out)
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(len(b))), b, data), names, err
}
