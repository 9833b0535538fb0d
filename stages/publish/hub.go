package publish

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"quern/hfclient"
	"quern/pipeline"
)

// toHub commits all files to a repository at once.
func toHub(ctx context.Context, f *Folder, t Target, o Options, ev pipeline.Events) (*Done, error) {
	up := hfclient.Upload{Repo: t.Name, Revision: t.Tag, Public: o.Public, Message: o.Message,
		Keep: filepath.Join(f.Dir, ".quern", "uploads")}
	if up.Message == "" {
		var types []string
		for _, m := range f.Models {
			types = append(types, m.Receipt.Type)
		}
		up.Message = fmt.Sprintf("%s in %s", f.name(), strings.Join(types, ", "))
	}
	d := &Done{URL: strings.TrimRight(o.Hub.Endpoint(), "/") + "/" + t.Name}
	for _, a := range f.Files {
		up.Files = append(up.Files, hfclient.NewFile{Path: a.Name, Local: a.Path, Data: a.Data, Size: a.Size, SHA256: a.SHA256})
		d.Moves = append(d.Moves, Move{File: a.Name, To: a.Name, Bytes: a.Size})
	}
	if len(f.Models) > 0 {
		d.Run = fmt.Sprintf("llama-server -hf %s:%s", t.Name, f.Models[len(f.Models)-1].Receipt.Type)
	}
	if o.DryRun {
		return d, nil
	}
	ev.Emit(pipeline.Started{Stage: "upload", Says: t.String()})
	up.Progress = func(p hfclient.Progress) {
		ev.Emit(pipeline.Progress{Stage: "upload", Item: p.File, Done: p.TotalDone, Total: p.TotalSize, Unit: "bytes", Rate: p.Rate})
	}
	done, err := o.Hub.Upload(ctx, up)
	if err != nil {
		return nil, err
	}
	d.Version, d.Sent = done.Commit, done.Sent
	says := "an open repository"
	if done.Private {
		says = "a private repository"
		if o.Public {
			ev.Emit(pipeline.Warning{Stage: "publish", Says: t.Name + " was there and stays private", Next: "its settings on the Hub open it"})
		}
	}
	if done.Created {
		says = "new: " + says
	}
	ev.Emit(pipeline.Finished{Stage: "upload", State: pipeline.OK, Says: fmt.Sprintf("%s; %d of %d files were there, %d objects were in its storage", says, done.Unchanged, len(up.Files), done.Present)})
	return d, nil
}
