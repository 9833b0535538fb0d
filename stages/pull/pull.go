// Package pull is the stage that brings a checkpoint from the Hub to this disk, every file proven by its digest.
package pull

import (
	"context"
	"fmt"
	"os"

	"quern/hfclient"
	"quern/pipeline"
	"quern/stages/job"
	"quern/stages/plan"
	"quern/stages/source"
)

// Stage is the download.
type Stage struct{}

// Name is "pull".
func (Stage) Name() string { return "pull" }

// Skip gives the reason why nothing has to be downloaded.
func (Stage) Skip(s *job.State) string {
	switch {
	case s.Source.Kind != source.Hub:
		return "the source is on this machine"
	case s.Stream:
		return "--stream: the build reads from the Hub and keeps nothing"
	}
	return ""
}

// Plan says what would be fetched.
func (Stage) Plan(_ context.Context, s *job.State) (pipeline.Step, error) {
	return pipeline.Step{
		Cost: pipeline.Cost{Download: s.Pull.Fetch},
		Says: fmt.Sprintf("%s of %s@%s into %s", plan.Size(s.Pull.Fetch), s.Source.Repo, s.Pinned.Commit[:12], s.Hub.CacheDir()),
	}, nil
}

// Run fetches what the cache lacks; from then on the plan's tensors are read from this disk.
func (Stage) Run(ctx context.Context, s *job.State, ev pipeline.Events) error {
	req := Request(s.Source.Repo, s.Source.Revision, ev)
	req.At, req.Want.Pickle = s.Pinned, s.Adapter
	if s.Parts != nil { // GGUF files: the one that was named, or that was chosen among those published
		for _, f := range s.Pull.Files {
			req.Files = append(req.Files, f.Path)
		}
	}
	snap, err := s.Hub.Pull(ctx, req)
	if err != nil {
		return err
	}
	s.Local, s.Source.Path = snap, snap.Dir // of GGUF files too: their names are below it
	if sw, ok := s.Source.FS.(*source.Switch); ok {
		sw.Use(os.DirFS(snap.Dir))
	}
	ev.Emit(pipeline.Line{Stage: "pull", Label: "pull", Text: Summary(snap)})
	return nil
}

// Request is a download whose progress goes to ev.
func Request(repo, revision string, ev pipeline.Events) hfclient.Request {
	return hfclient.Request{Repo: repo, Revision: revision, Progress: func(p hfclient.Progress) {
		ev.Emit(pipeline.Progress{Stage: "pull", Item: p.File, Done: p.TotalDone, Total: p.TotalSize, Unit: "bytes", Rate: p.Rate})
	}}
}

// Summary says what is on the disk now.
func Summary(s *hfclient.Snapshot) string {
	n := int64(0)
	for _, f := range s.Files {
		n += f.Size
	}
	return fmt.Sprintf("%d files, %s, of which %s fetched now; every digest verified", len(s.Files), plan.Size(n), plan.Size(s.Fetched))
}
