// Package matrix prints a model set as the jobs of a CI: one for each entry, in the shapes that GitHub Actions and GitLab read,
// and divides entries among jobs.
package matrix

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"path/filepath"
	"strings"

	"quern/pipeline/batch/manifest"
)

// Shape is a CI's form.
type Shape string

// The shapes.
const (
	GitHub Shape = "github" // strategy.matrix, by fromJSON
	GitLab Shape = "gitlab" // a child pipeline
)

// defaultRunner is where entries run for which the manifest names no runner.
const defaultRunner = "ubuntu-latest"

// Job is an entry as a job.
type Job struct {
	Key    string   `json:"key"`
	Model  string   `json:"model"`
	Types  string   `json:"types"`
	For    string   `json:"for"`
	Runner []string `json:"runner"` // labels
}

// Jobs are the entries as jobs, in the manifest's order.
func Jobs(s *manifest.Set, entries []manifest.Entry) []Job {
	jobs := []Job{}
	for _, e := range entries {
		j := Job{Key: e.Key, Model: e.Model.Model, For: e.Machine, Runner: s.Runners[e.Machine]}
		if len(j.Runner) == 0 {
			j.Runner = s.Runners["default"]
		}
		if len(j.Runner) == 0 {
			j.Runner = []string{defaultRunner}
		}
		var types []string
		for _, t := range e.Model.Types {
			types = append(types, t.String())
		}
		j.Types = strings.Join(types, ", ")
		jobs = append(jobs, j)
	}
	return jobs
}

// Write is the matrix in a shape: one line of JSON for GitHub, a pipeline for GitLab (JSON, of which YAML is an extension).
func Write(shape Shape, s *manifest.Set, entries []manifest.Entry) ([]byte, error) {
	jobs := Jobs(s, entries)
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	var err error
	switch shape {
	case GitHub:
		err = e.Encode(map[string]any{"include": jobs})
	case GitLab:
		e.SetIndent("", "  ")
		err = e.Encode(pipelineOf(s, jobs))
	default:
		err = fmt.Errorf("there is no shape %q", string(shape))
	}
	return b.Bytes(), err
}

// pipelineOf has a job for each runner, and in it a matrix of the entries that run there.
func pipelineOf(s *manifest.Set, jobs []Job) map[string]any {
	out := map[string]any{}
	var order []string
	keys := map[string][]string{}
	labels := map[string][]string{}
	for _, j := range jobs {
		name := "quern " + strings.Join(j.Runner, " ")
		if keys[name] == nil {
			order = append(order, name)
			labels[name] = j.Runner
		}
		keys[name] = append(keys[name], j.Key)
	}
	file := filepath.ToSlash(s.File)
	for _, name := range order {
		out[name] = map[string]any{
			"stage":    "build",
			"image":    "$QUERN_IMAGE",
			"tags":     labels[name],
			"parallel": map[string]any{"matrix": []any{map[string]any{"QUERN_KEY": keys[name]}}},
			"script":   []string{fmt.Sprintf(`quern batch "%s" --only "$QUERN_KEY" --locked --out artifacts`, file)},
			"artifacts": map[string]any{
				"name": "$QUERN_KEY", "when": "always", "paths": []string{"artifacts"}, "exclude": []string{"artifacts/**/.quern/**"},
			},
		}
	}
	if len(order) == 0 {
		out["quern"] = map[string]any{"script": []string{"echo no entries"}}
	}
	return out
}

// Shard is the part from 1 to n that an entry belongs to. It depends on the entry's key alone: other entries come and go without
// moving it.
func Shard(e manifest.Entry, n int) int {
	h := fnv.New64a()
	h.Write([]byte(e.Key))
	x := h.Sum64()
	x ^= x >> 32 // the low bits of FNV alone follow the last letters
	return int(x%uint64(n)) + 1
}
