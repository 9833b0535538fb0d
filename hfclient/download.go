package hfclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// worthwhile is how much a broken-off body must have given for the count of tries to begin anew.
const worthwhile = 64 << 10

// download brings one file into the cache.
type download struct {
	c       *Client
	rev     *Revision
	file    File
	meter   *fileMeter
	fetched *atomic.Int64 // bytes from the network, over all files of a pull
}

// obtain makes the file whole, proven and pointed to. It is the only way to a final name.
//
//	pointer or blob there  -> hash it unless we did before -> pointer
//	else under the lock    -> segments -> digest -> blob -> pointer
func (d *download) obtain(ctx context.Context) error {
	path, pointed := d.c.cache.where(d.rev.Repo, d.rev.Commit, d.file)
	if path != "" {
		sound, err := d.believe(ctx, path)
		if err != nil {
			return err
		}
		if sound && pointed {
			d.meter.enter(Done, d.file.Size)
			return nil
		}
	}
	if d.c.o.Offline && path == "" {
		return offlineError(d.on(), "the cache lacks this file and the network is not to be used")
	}
	unlock, err := d.c.cache.lock(ctx, d.rev.Repo, d.file.ETag(), func() { d.meter.enter(Waiting, 0) })
	if err != nil {
		return d.about(err)
	}
	defer unlock()
	if err := d.underLock(ctx); err != nil {
		return d.about(err)
	}
	d.meter.enter(Done, d.file.Size)
	return nil
}

// on leaves the commit out: the user has asked for a file of a repo.
func (d *download) on() subject { return subject{repo: d.rev.Repo, path: d.file.Path} }

// about names the file in an error that does not say yet what it concerns.
func (d *download) about(err error) error {
	var e *Error
	if errors.As(err, &e) && e.On == "" {
		e.On = d.on().String()
	}
	return err
}

// underLock looks again, for another process may have been faster, and fetches what is missing.
func (d *download) underLock(ctx context.Context) error {
	path, pointed := d.c.cache.where(d.rev.Repo, d.rev.Commit, d.file)
	sound := false
	if path != "" {
		var err error
		if sound, err = d.believe(ctx, path); err != nil {
			return err
		}
	}
	if !sound {
		if d.c.o.Offline {
			return d.corrupt(path)
		}
		if err := d.fetch(ctx); err != nil {
			return err
		}
		pointed = false
	}
	if pointed {
		return nil
	}
	return d.c.cache.point(d.rev.Repo, d.rev.Commit, d.file)
}

// corrupt is for the offline case; with a network the file is fetched anew without a word.
func (d *download) corrupt(path string) error {
	return &Error{Kind: ErrIntegrity, On: d.on().String(), Says: "the cache holds other bytes than the digest " + d.file.Digest() + " promises",
		Next: "run again with a network: the file is fetched anew; or remove " + path}
}

// believe reports whether the data at path has the promised digest. It is computed once; a cache that cannot be
// written is hashed each time.
func (d *download) believe(ctx context.Context, path string) (bool, error) {
	if d.c.cache.proven(d.rev.Repo, d.file, path) {
		return true, nil
	}
	d.meter.enter(Checking, 0)
	got, err := sum(path, newHash(d.file), func(n int) error {
		d.meter.add(int64(n), false)
		return ctx.Err()
	})
	if err != nil {
		return false, d.about(cacheError(err))
	}
	if got != d.file.ETag() {
		d.c.o.Logger.Warn("cached file has a wrong digest", "file", d.on().String(), "want", d.file.ETag(), "got", got)
		return false, nil
	}
	if err := d.c.cache.prove(d.rev.Repo, d.file, path); err != nil {
		d.c.o.Logger.Debug("proof not kept", "file", d.on().String(), "error", err)
	}
	return true, nil
}

// fetch downloads the blob. A wrong digest is given one more try with nothing kept of the first.
func (d *download) fetch(ctx context.Context) error {
	for try := 1; ; try++ {
		err := d.once(ctx)
		var wrong *digestError
		if !errors.As(err, &wrong) {
			return err
		}
		if try == 2 {
			return &Error{Kind: ErrIntegrity, On: d.on().String(), Err: wrong, Says: "the data is not what the listing promises, twice",
				Next: "nothing was kept; try another network or mirror, and do not trust this one"}
		}
		d.c.o.Logger.Warn("wrong digest, fetching once more", "file", d.on().String(), "want", wrong.want, "got", wrong.got)
	}
}

// once continues the partial blob and gives it its name. Ranges come first; a server that gives none has the file
// fetched in one piece, where the digest still decides.
func (d *download) once(ctx context.Context) error {
	address := d.c.fileAddress(d.rev.Canonical, d.rev.Commit, d.file.Path)
	p, err := d.c.cache.openPartial(d.rev.Repo, d.file, address, d.c.o.SegmentSize)
	if err != nil {
		return err
	}
	d.meter.enter(Fetching, p.has())
	src := d.c.source(d.rev, d.file)
	err = d.segments(ctx, p, src)
	if errors.Is(err, errNoRanges) {
		err = d.inOnePiece(ctx, p, src)
	}
	if err != nil {
		// What failed first is what the user needs to hear, not that recording it failed too.
		_ = p.halt()
		return err
	}
	if err := p.finish(); err != nil {
		return err
	}
	if err := d.c.cache.prove(d.rev.Repo, d.file, p.path); err != nil {
		d.c.o.Logger.Debug("proof not kept", "file", d.on().String(), "error", err)
	}
	return nil
}

// segments fetches all missing segments, at most PerFile of them at a time and Connections over all files.
func (d *download) segments(ctx context.Context, p *partial, src *source) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(d.c.o.PerFile)
	for i := range p.done {
		if lo, hi := p.missing(i); lo == hi {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			if err := d.c.conns.Acquire(ctx, 1); err != nil {
				return err
			}
			defer d.c.conns.Release(1)
			return d.segment(ctx, p, src, i)
		})
	}
	return g.Wait()
}

// segment fetches the rest of one segment, from where it broke off as often as that helps.
func (d *download) segment(ctx context.Context, p *partial, src *source, i int) error {
	buf := d.c.buffers.Get().(*[]byte)
	defer d.c.buffers.Put(buf)
	for try := 1; ; try++ {
		lo, hi := p.missing(i)
		if lo == hi {
			return nil
		}
		body, err := src.ranged(ctx, lo, hi)
		if err != nil {
			return err
		}
		n, broke, err := d.copyBody(ctx, p, body, lo, hi, *buf)
		_ = body.Close()
		if err != nil || n == hi-lo {
			return err
		}
		if n >= worthwhile {
			try = 0
		}
		if err := d.again(ctx, try, n, broke); err != nil {
			return err
		}
	}
}

// again waits before the next try, or gives up. A connection that gave something gets no wait.
func (d *download) again(ctx context.Context, try int, n int64, broke error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if try >= maxTries {
		return &Error{Kind: ErrUnavailable, On: d.on().String(), Err: broke, Says: fmt.Sprintf("the connection broke off %d times", maxTries),
			Next: "run the same command again; it continues where this one stopped"}
	}
	d.c.o.Logger.Debug("continue", "file", d.on().String(), "try", try, "got", n, "because", broke)
	if n > 0 {
		return nil
	}
	return sleep(ctx, backoff(d.c.o.RetryWait, try))
}

// copyBody writes a body to [lo, hi). broke is why the body ended early; err is what no repetition mends.
func (d *download) copyBody(ctx context.Context, p *partial, body io.Reader, lo, hi int64, buf []byte) (n int64, broke, err error) {
	for off := lo; ; {
		m, rerr := body.Read(d.c.limit.chunk(buf))
		if int64(m) > hi-off {
			return off - lo, nil, &Error{Kind: ErrIntegrity, On: d.on().String(), Says: "the server sends more than was asked for",
				Next: "try another network or mirror"}
		}
		if m > 0 {
			if err := p.write(buf[:m], off); err != nil {
				return off - lo, nil, err
			}
			off += int64(m)
			d.meter.add(int64(m), true)
			d.fetched.Add(int64(m))
			if err := d.c.limit.wait(ctx, m); err != nil {
				return off - lo, nil, err
			}
		}
		switch {
		case rerr == io.EOF && off < hi:
			return off - lo, io.ErrUnexpectedEOF, nil
		case rerr == io.EOF:
			return off - lo, nil, nil
		case rerr != nil:
			return off - lo, rerr, nil
		}
	}
}

// inOnePiece fetches the file from its beginning, for a server without ranges. What breaks off begins anew.
func (d *download) inOnePiece(ctx context.Context, p *partial, src *source) error {
	if err := d.c.conns.Acquire(ctx, 1); err != nil {
		return err
	}
	defer d.c.conns.Release(1)
	buf := make([]byte, bufferSize)
	for try := 1; ; try++ {
		p.restart()
		d.meter.enter(Fetching, 0)
		body, closer, err := src.whole(ctx)
		if err != nil {
			return err
		}
		n, broke, err := d.copyWhole(ctx, p, body, buf)
		_ = closer.Close()
		if err != nil || broke == nil && n == d.file.Size {
			return err
		}
		if err := d.again(ctx, try, 0, broke); err != nil {
			return err
		}
	}
}

// copyWhole cuts a body that has no end of its own into the segments of p.
func (d *download) copyWhole(ctx context.Context, p *partial, body io.Reader, buf []byte) (n int64, broke, err error) {
	for i := range p.done {
		lo, hi := p.missing(i)
		m, broke, err := d.copyBody(ctx, p, io.LimitReader(body, hi-lo), lo, hi, buf)
		n += m
		if err != nil || broke != nil || n < hi {
			return n, broke, err
		}
	}
	extra, rerr := io.ReadFull(body, buf[:1])
	if extra > 0 {
		return n, nil, &Error{Kind: ErrIntegrity, On: d.on().String(), Says: fmt.Sprintf("the server sends more than the %d bytes that the listing promises", d.file.Size),
			Next: "try another network or mirror"}
	}
	if rerr != io.EOF {
		return n, rerr, nil
	}
	return n, nil, nil
}

// readCached gives the data of a small file that obtain has brought.
func (c *Client) readCached(r *Revision, f File, limit int64) ([]byte, error) {
	path, _ := c.cache.where(r.Repo, r.Commit, f)
	if path == "" {
		return nil, cacheError(&os.PathError{Op: "open", Path: c.cache.pointer(r.Repo, r.Commit, f.Path), Err: os.ErrNotExist})
	}
	data, err := readBounded(path, limit)
	return data, cacheError(err)
}
