package hfclient

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Request says what to download.
type Request struct {
	Repo     string
	Revision string            // branch, tag or commit; default "main"
	At       *Revision         // resolved before; stands in for Repo and Revision
	Files    []string          // paths; nil: what Choose picks
	All      bool              // every file of the revision instead
	Want     Want              // widens what Choose picks
	Progress func(Progress)    // called one at a time, never from the caller's goroutine; may be nil
	Accept   func(*Plan) error // called before the first byte of weights; an error ends the pull; may be nil
}

// Plan is what a pull would do.
type Plan struct {
	Revision *Revision
	Choice   Choice // empty Format if the files were named
	Files    []File // all that the snapshot will hold, by path
	Missing  []File // those that the cache lacks
	Fetch    int64  // bytes of Missing that no earlier run left
}

// Snapshot is a commit's files on disk, each proven by its digest.
type Snapshot struct {
	Repo     string
	Revision string // as it was asked for
	Commit   string
	Dir      string    // snapshots/<commit> in the cache; os.DirFS reads it
	Format   Format    // "" if the files were named
	Files    []File    // by path
	Weights  []File    // those of Files that are weights
	Fetched  int64     // bytes that came over the network
	At       *Revision // what FS takes, to read the same files under their own names instead of links
}

// Pull brings the files of one revision into the cache. Files that are there are not fetched; a pull that was
// interrupted, by whatever means, continues. When it returns without an error, every file has the digest that the
// Hub's listing promises. Errors: those of Resolve and Choose, ErrIntegrity, ErrNoSpace, ErrCache.
func (c *Client) Pull(ctx context.Context, req Request) (*Snapshot, error) {
	p, err := c.PlanPull(ctx, req)
	if err != nil {
		return nil, err
	}
	rev := p.Revision
	if err := c.checkSpace(p); err != nil {
		return nil, err
	}
	if req.Accept != nil {
		if err := req.Accept(p); err != nil {
			return nil, err
		}
	}
	s := &Snapshot{Repo: rev.Repo, Revision: rev.Name, Commit: rev.Commit, Dir: c.cache.snapshot(rev.Repo, rev.Commit),
		Format: p.Choice.Format, Files: p.Files, Weights: p.Choice.Weights, At: rev}
	if s.Fetched, err = c.obtainAll(ctx, rev, p.Files, req.Progress); err != nil {
		return nil, err
	}
	// The ref moves last: until then an older snapshot, which is whole, is what the revision means offline.
	if err := c.cache.writeRef(rev.Repo, rev.Name, rev.Commit); err != nil && p.Missing != nil {
		return nil, err
	}
	return s, nil
}

// PlanPull tells what Pull would do, without weights. Only an index of shards may be fetched.
func (c *Client) PlanPull(ctx context.Context, req Request) (*Plan, error) {
	rev := req.At
	if rev == nil {
		var err error
		if rev, err = c.Resolve(ctx, req.Repo, req.Revision); err != nil {
			return nil, err
		}
	}
	p, err := c.plan(ctx, rev, req)
	if err != nil && !rev.complete && !errors.Is(err, ErrOffline) {
		// The folder of a snapshot is no listing: what it lacks may well exist.
		return nil, &Error{Kind: ErrOffline, On: rev.Repo, Says: "the cache does not hold all of commit " + rev.Commit[:12], Err: err,
			Next: "run again with a network, without --offline and HF_HUB_OFFLINE"}
	}
	return p, err
}

// plan also says what earlier runs left, so that the disk is asked for what is still needed, not for the whole.
func (c *Client) plan(ctx context.Context, rev *Revision, req Request) (*Plan, error) {
	p := &Plan{Revision: rev}
	switch {
	case req.All:
		p.Files = rev.Files
	case req.Files != nil:
		for _, path := range req.Files {
			f, err := rev.File(path)
			if err != nil {
				c.cache.remember(rev, path)
				return nil, err
			}
			p.Files = append(p.Files, f)
		}
	default:
		var err error
		if p.Choice, err = c.Choose(ctx, rev, req.Want); err != nil {
			return nil, err
		}
		p.Files = p.Choice.Files()
	}
	for _, f := range p.Files {
		if path, _ := c.cache.where(rev.Repo, rev.Commit, f); path == "" {
			p.Missing = append(p.Missing, f)
			p.Fetch += f.Size - c.cache.recorded(rev.Repo, f)
		}
	}
	if c.o.Offline && p.Missing != nil {
		return nil, offlineError(subject{repo: rev.Repo, revision: rev.Name},
			fmt.Sprintf("the cache lacks %d of %d files, the first is %s", len(p.Missing), len(p.Files), p.Missing[0].Path))
	}
	return p, nil
}

// Choose is the function of that name over a resolved revision; an index is fetched if there is one.
func (c *Client) Choose(ctx context.Context, rev *Revision, want Want) (Choice, error) {
	return Choose(rev, want, func(f File) ([]byte, error) { return c.ReadFile(ctx, rev, f) })
}

// ReadFile gives the data of a small file, at most 64 MiB, through the cache.
func (c *Client) ReadFile(ctx context.Context, rev *Revision, f File) ([]byte, error) {
	if f.Size > maxIndex {
		return nil, &Error{Kind: ErrIntegrity, On: rev.Repo + "/" + f.Path,
			Says: fmt.Sprintf("%d bytes, at most %d are read at once", f.Size, maxIndex)}
	}
	if _, err := c.obtainAll(ctx, rev, []File{f}, nil); err != nil {
		return nil, err
	}
	return c.readCached(rev, f, f.Size)
}

// obtainAll brings files, several at once, and gives the number of bytes that came over the network.
func (c *Client) obtainAll(ctx context.Context, rev *Revision, files []File, report func(Progress)) (int64, error) {
	m := newMeter(report, files)
	defer m.stop()
	var fetched atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.o.Connections)
	for _, f := range files {
		if ctx.Err() != nil {
			break
		}
		d := &download{c: c, rev: rev, file: f, meter: m.files[f.Path], fetched: &fetched}
		g.Go(func() error { return d.obtain(ctx) })
	}
	err := g.Wait()
	return fetched.Load(), err
}

// checkSpace refuses before the first byte what the disk cannot take.
func (c *Client) checkSpace(p *Plan) error {
	if p.Fetch == 0 {
		return nil
	}
	free, err := c.cache.free(c.cache.folder(p.Revision.Repo))
	if err != nil {
		return nil // not known: the write itself will tell
	}
	if p.Fetch <= free {
		return nil
	}
	return &Error{Kind: ErrNoSpace, On: p.Revision.Repo,
		Says: fmt.Sprintf("%d bytes are to be fetched, the disk of %s has %d", p.Fetch, c.cache.root, free),
		Next: "make room, or set HF_HUB_CACHE to a folder on a larger disk"}
}

// remember leaves the note that Python's client leaves of a file that is known not to exist.
func (c *cache) remember(r *Revision, path string) {
	if !r.complete || cleanName(path) != nil {
		return
	}
	_ = c.replace(filepath.Join(c.folder(r.Repo), ".no_exist", r.Commit, filepath.FromSlash(path)), nil)
}
