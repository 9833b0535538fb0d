package hfclient

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const (
	sampleSize   = 512      // bytes from a file's start by which the Hub tells text from data
	maxRegular   = 10 << 20 // bytes of a file that goes into git itself; the Hub wants larger ones in its large storage
	maxCommit    = 1 << 30  // bytes of all such files of one commit, which are held in memory once
	filesAtOnce  = 256      // files of one request, as Python's client asks
	objectsAside = 3        // large files that are uploaded beside one another
)

// NewFile is a file to be put into a repo: either on this disk or in memory.
type NewFile struct {
	Path   string // in the repo
	Local  string // on this disk; empty: Data
	Data   []byte
	Size   int64
	SHA256 string // 64 hexadecimal digits, proven by the caller
}

// Upload says what goes where.
type Upload struct {
	Repo     string // org/name; it is made where it does not exist
	Revision string // a branch that exists; default main
	Public   bool   // a new repo is open to all, and an existing one may be
	Message  string // of the commit, one line
	Files    []NewFile
	Keep     string         // folder that remembers the parts of unfinished large objects; empty: none
	Progress func(Progress) // of the large files
}

// Uploaded is what became of an upload.
type Uploaded struct {
	Commit    string // 40 hexadecimal digits
	URL       string
	Created   bool  // the repo is new
	Private   bool  // the repo is closed to the public
	Sent      int64 // bytes of large files that went over the network
	Present   int   // large files that the Hub had already
	Unchanged int   // files that the revision had already
}

// readSeekCloser is a file on disk or in memory.
type readSeekCloser interface {
	io.ReaderAt
	io.Closer
}

// open gives the bytes of f.
func (f NewFile) open() (readSeekCloser, error) {
	if f.Local == "" {
		return memory{bytes.NewReader(f.Data)}, nil
	}
	return os.Open(f.Local)
}

type memory struct{ *bytes.Reader }

// Close implements io.Closer.
func (memory) Close() error { return nil }

// head is up to n bytes from the start of f.
func (f NewFile) head(n int64) ([]byte, error) {
	r, err := f.open()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, min(n, f.Size))
	_, err = io.ReadFull(io.NewSectionReader(r, 0, f.Size), b)
	return b, err
}

// added is a file with what the Hub says about it.
type added struct {
	NewFile
	lfs, ignored bool
	oid          string // of the same path in the revision: SHA-256 or git's SHA-1; empty where there is none
}

// Upload makes the repo where there is none, brings the large files into its storage, and commits all files at once: a reader
// sees either none of them or all. What the Hub has already is not sent again, so that the same call continues an upload that
// broke off. Errors: ErrUnauthorized, ErrGated, ErrConflict, ErrUnavailable, ErrIntegrity.
func (c *Client) Upload(ctx context.Context, u Upload) (*Uploaded, error) {
	if u.Revision == "" {
		u.Revision = "main"
	}
	if err := errors.Join(CheckRepo(u.Repo), checkRevision(u.Repo, u.Revision)); err != nil {
		return nil, err
	}
	for _, f := range u.Files {
		if err := cleanName(f.Path); err != nil {
			return nil, &Error{Kind: ErrInvalid, On: u.Repo, Says: err.Error()}
		}
	}
	done := &Uploaded{URL: c.address("/" + u.Repo)}
	if err := c.ensureRepo(ctx, u, done); err != nil {
		return nil, err
	}
	files, err := c.preupload(ctx, u)
	if err != nil {
		return nil, err
	}
	if err := c.uploadLarge(ctx, u, files, done); err != nil {
		return nil, err
	}
	return done, c.commit(ctx, u, files, done)
}

// ensureRepo finds the repo or makes it.
func (c *Client) ensureRepo(ctx context.Context, u Upload, done *Uploaded) error {
	found, err := c.lookRepo(ctx, u, done)
	switch {
	case found || err != nil:
		return err
	case c.o.Token.Value == "": // the Hub hides what one may not see
		return c.noToken(subject{repo: u.Repo})
	}
	return c.createRepo(ctx, u, done)
}

// lookRepo tells whether there is the repo. One that is open to all must be meant to be.
func (c *Client) lookRepo(ctx context.Context, u Upload, done *Uploaded) (bool, error) {
	on := subject{repo: u.Repo}
	body, _, err := c.fetch(ctx, c.apiAddress(u.Repo), on, maxListing)
	if errors.Is(err, ErrRepoNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var info struct{ Private bool }
	if err := json.Unmarshal(body, &info); err != nil {
		return false, badListing(on, err)
	}
	if !info.Private && !u.Public {
		return true, &Error{Kind: ErrInvalid, On: u.Repo, Says: "the repo is open to all, and that was not asked for",
			Next: "say --public if it is meant, or choose another repo"}
	}
	done.Private = info.Private
	return true, nil
}

// noToken is what an anonymous writer is told.
func (c *Client) noToken(on subject) error {
	return &Error{Kind: ErrUnauthorized, On: on.String(), Says: "writing needs a token, and there is none",
		Next: "set HF_TOKEN to a token with write access, made at " + c.address("/settings/tokens")}
}

// createRepo makes the repo, with patience for another creation of the same account. One that appeared in the meantime will do.
func (c *Client) createRepo(ctx context.Context, u Upload, done *Uploaded) error {
	ask := map[string]any{"name": u.Repo, "organization": nil, "type": "model", "private": !u.Public}
	if org, name, ok := strings.Cut(u.Repo, "/"); ok {
		ask["name"], ask["organization"] = name, org
	}
	for try := 1; ; try++ {
		err := c.post(ctx, c.address("/api/repos/create"), ask, subject{repo: u.Repo}, nil)
		if err == nil {
			done.Created, done.Private = true, !u.Public
			return nil
		}
		if !errors.Is(err, ErrConflict) || try == maxTries {
			return err
		}
		if found, lerr := c.lookRepo(ctx, u, done); found || lerr != nil {
			return lerr
		}
		if err := sleep(ctx, backoff(c.o.RetryWait, try)); err != nil {
			return err
		}
	}
}

// preupload asks which files go into git and which into the large storage, and what the revision has of them.
func (c *Client) preupload(ctx context.Context, u Upload) ([]*added, error) {
	on := subject{repo: u.Repo, revision: u.Revision}
	files := make([]*added, len(u.Files))
	byPath := map[string]*added{}
	for i, f := range u.Files {
		files[i] = &added{NewFile: f}
		byPath[f.Path] = files[i]
	}
	for from := 0; from < len(files); from += filesAtOnce {
		type question struct {
			Path   string `json:"path"`
			Sample string `json:"sample"`
			Size   int64  `json:"size"`
		}
		var ask struct {
			Files []question `json:"files"`
		}
		for _, f := range files[from:min(from+filesAtOnce, len(files))] {
			head, err := f.head(sampleSize)
			if err != nil {
				return nil, err
			}
			ask.Files = append(ask.Files, question{f.Path, base64.StdEncoding.EncodeToString(head), f.Size})
		}
		var answer struct {
			Files []struct {
				Path, UploadMode string
				ShouldIgnore     bool
				OID              string
			}
		}
		if err := c.post(ctx, c.apiAddress(u.Repo, "preupload", u.Revision), ask, on, &answer); err != nil {
			return nil, err
		}
		for _, a := range answer.Files {
			if f := byPath[a.Path]; f != nil {
				f.lfs, f.ignored, f.oid = a.UploadMode == "lfs" && f.Size > 0, a.ShouldIgnore, a.OID // storage hosts refuse empty objects
			}
		}
	}
	return files, nil
}

// unchanged tells whether the revision has these very bytes under this name.
func (f *added) unchanged() (bool, error) {
	if f.lfs || f.oid == "" {
		return f.oid != "" && f.oid == f.SHA256, nil
	}
	data, err := f.head(maxRegular)
	if err != nil {
		return false, err
	}
	sum := sha1.Sum(append(fmt.Appendf(nil, "blob %d\x00", len(data)), data...))
	return hex.EncodeToString(sum[:]) == f.oid, nil
}

// commit makes all files part of the revision at once. It is asked again while others commit.
func (c *Client) commit(ctx context.Context, u Upload, files []*added, done *Uploaded) error {
	on := subject{repo: u.Repo, revision: u.Revision}
	body, err := commitLines(u, files, done)
	if err != nil {
		return err
	}
	if body == nil {
		r, err := c.ask(ctx, u.Repo, u.Revision)
		if err == nil {
			done.Commit = r.Commit
		}
		return err
	}
	var answer struct{ CommitOID, CommitURL string }
	for try := 1; ; try++ {
		err := c.postBytes(ctx, c.apiAddress(u.Repo, "commit", u.Revision), "application/x-ndjson", body, on, &answer)
		if errors.Is(err, ErrConflict) && try < maxTries {
			if err := sleep(ctx, backoff(c.o.RetryWait, try)); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if !commitName.MatchString(answer.CommitOID) {
			return &Error{Kind: ErrUnavailable, On: on.String(), Says: fmt.Sprintf("the Hub names no commit: %.60q", answer.CommitOID)}
		}
		done.Commit, done.URL = answer.CommitOID, c.address("/"+u.Repo)
		return nil
	}
}

// commitLines is the commit as one JSON object a line; nil where nothing is to be changed.
func commitLines(u Upload, files []*added, done *Uploaded) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	line := func(key string, value map[string]any) error {
		return e.Encode(map[string]any{"key": key, "value": value})
	}
	if err := line("header", map[string]any{"summary": u.Message, "description": ""}); err != nil {
		return nil, err
	}
	n := 0
	for _, f := range files {
		same, err := f.unchanged()
		if err != nil {
			return nil, err
		}
		switch {
		case same:
			done.Unchanged++
			continue
		case f.ignored:
			return nil, &Error{Kind: ErrInvalid, On: u.Repo + "/" + f.Path, Says: "the repo's .gitignore leaves this file out", Next: "take the line out of it on the Hub"}
		case f.lfs:
			err = line("lfsFile", map[string]any{"path": f.Path, "algo": "sha256", "oid": f.SHA256, "size": f.Size})
		case f.Size > maxRegular || int64(b.Len()) > maxCommit:
			err = &Error{Kind: ErrUnavailable, On: u.Repo + "/" + f.Path, Says: fmt.Sprintf("the Hub wants %d bytes in git itself, at most %d are sent there", f.Size, maxRegular)}
		default:
			var data []byte
			if data, err = f.head(maxRegular); err == nil {
				err = line("file", map[string]any{"path": f.Path, "encoding": "base64", "content": base64.StdEncoding.EncodeToString(data)})
			}
		}
		if err != nil {
			return nil, err
		}
		n++
	}
	if n == 0 {
		return nil, nil
	}
	return b.Bytes(), nil
}
