package hfclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sort"
)

const (
	unreliable   = 50_000    // siblings above this number, or none, say nothing: list the tree
	maxFiles     = 1_000_000 // in one revision; the Hub advises against more than 100,000
	maxTreePages = 10_000
	maxFileSize  = 1 << 50 // bytes; the Hub's own limit is 500 GB
)

// File is one file of a revision, as the Hub's listing promises it. SHA256 is set for files in large storage, GitSHA1
// (of "blob <size>\0" and the data) for all others; one of them always is.
type File struct {
	Path    string `json:"path"`
	Size    int64  `json:"size"`
	SHA256  string `json:"sha256,omitempty"`
	GitSHA1 string `json:"git_sha1,omitempty"`
}

// ETag is the name of the file's blob in the cache: its SHA-256 or, for a small file, its git SHA-1.
func (f File) ETag() string {
	if f.SHA256 != "" {
		return f.SHA256
	}
	return f.GitSHA1
}

// Digest is ETag with the name of its function: "sha256:…" or "git-sha1:…".
func (f File) Digest() string {
	if f.SHA256 != "" {
		return "sha256:" + f.SHA256
	}
	return "git-sha1:" + f.GitSHA1
}

// Revision is one commit of a repo and everything that it lists.
type Revision struct {
	Repo      string `json:"repo"`      // as it was asked for; names the folder in the cache
	Canonical string `json:"canonical"` // as the Hub calls it: another name if the repo was renamed
	Name      string `json:"-"`         // the branch, tag or commit that was asked for
	Commit    string `json:"commit"`    // 40 hexadecimal digits
	Gated     string `json:"gated"`     // "", "auto" or "manual"
	Files     []File `json:"files"`     // by path

	complete bool // Files is the Hub's listing, not merely what a snapshot folder holds
}

// File finds a file by its path. The error names close matches.
func (r *Revision) File(path string) (File, error) {
	i := sort.Search(len(r.Files), func(i int) bool { return r.Files[i].Path >= path })
	if i < len(r.Files) && r.Files[i].Path == path {
		return r.Files[i], nil
	}
	names := make([]string, len(r.Files))
	for i, f := range r.Files {
		names[i] = f.Path
	}
	return File{}, &Error{Kind: ErrFileNotFound, On: r.Repo + "/" + path, Says: "no such file in commit " + r.Commit[:12],
		Next: didYouMean(path, names)}
}

// Resolve turns a branch, tag or commit into a commit and its listing. A commit that was listed before costs no
// request; offline, the cache alone answers. Errors: ErrNotFound and its kinds, ErrGated, ErrOffline, ErrUnavailable.
func (c *Client) Resolve(ctx context.Context, repo, revision string) (*Revision, error) {
	if revision == "" {
		revision = "main"
	}
	if err := CheckRepo(repo); err != nil {
		return nil, err
	}
	if err := checkRevision(repo, revision); err != nil {
		return nil, err
	}
	if commitName.MatchString(revision) {
		if r := c.cache.loadListing(repo, revision); r != nil {
			r.Name = revision
			return r, nil
		}
	}
	if c.o.Offline {
		return c.cache.offline(repo, revision)
	}
	r, err := c.ask(ctx, repo, revision)
	if err != nil {
		return nil, err
	}
	r.Name = revision
	// A cache that cannot be written must not keep a plan from being made.
	if err := c.cache.saveListing(r); err != nil {
		c.o.Logger.Debug("listing not kept", "repo", repo, "error", err)
	}
	return r, nil
}

// ask costs one request for most repos. The tree is listed where the answer is known to be incomplete.
func (c *Client) ask(ctx context.Context, repo, revision string) (*Revision, error) {
	on := subject{repo: repo, revision: revision}
	data, _, err := c.fetch(ctx, c.apiAddress(repo, "revision", revision)+"?blobs=true", on, maxListing)
	if errors.Is(err, ErrRevisionNotFound) {
		return nil, c.suggestRevision(ctx, repo, revision, err)
	}
	if err != nil {
		return nil, err
	}
	r, whole, err := parseInfo(data)
	if err != nil {
		return nil, badListing(on, err)
	}
	r.Repo = repo
	if r.Canonical == "" {
		r.Canonical = repo
	}
	if !whole {
		if r.Files, err = c.tree(ctx, r.Canonical, r.Commit); err != nil {
			return nil, err
		}
	}
	if err := checkFiles(r.Files); err != nil {
		return nil, badListing(on, err)
	}
	if r.Gated != "" {
		if err := c.probe(ctx, r); err != nil {
			return nil, err
		}
	}
	r.complete = true
	return r, nil
}

// badListing is about the repo, not about the network: whoever made the listing has to explain it.
func badListing(on subject, err error) error {
	return &Error{Kind: ErrIntegrity, On: on.String(), Says: "its listing cannot be used",
		Next: "do not use this repo before its owner has explained this", Err: err}
}

// parseInfo reads /api/models/{id}/revision/{rev}?blobs=true. whole is false if the siblings do not tell size and
// digest of every file, or may be cut.
func parseInfo(data []byte) (r *Revision, whole bool, err error) {
	var info struct {
		ID       string
		SHA      string
		Gated    any
		Siblings []struct {
			RFilename string
			Size      *int64
			BlobID    string
			LFS       *struct {
				SHA256 string
				Size   int64
			}
		}
	}
	if err := json.Unmarshal(data, &info); err != nil {
		return nil, false, fmt.Errorf("not the JSON of a model: %w", err)
	}
	if !commitName.MatchString(info.SHA) {
		return nil, false, fmt.Errorf("%.60q is not a commit", info.SHA)
	}
	r = &Revision{Canonical: info.ID, Commit: info.SHA}
	if CheckRepo(r.Canonical) != nil {
		r.Canonical = ""
	}
	if s, ok := info.Gated.(string); ok {
		r.Gated = printable(s, 20)
	}
	whole = len(info.Siblings) > 0 && len(info.Siblings) <= unreliable
	for _, s := range info.Siblings {
		f := File{Path: s.RFilename, GitSHA1: s.BlobID}
		if s.LFS != nil {
			f.SHA256, f.GitSHA1 = s.LFS.SHA256, ""
		}
		if s.Size == nil || f.ETag() == "" {
			whole = false
		} else {
			f.Size = *s.Size
		}
		if s.LFS != nil && s.Size != nil && s.LFS.Size != *s.Size {
			return nil, false, fmt.Errorf("file %.100q has %d and %d bytes at once", f.Path, *s.Size, s.LFS.Size)
		}
		r.Files = append(r.Files, f)
	}
	return r, whole, nil
}

// tree lists a commit page by page.
func (c *Client) tree(ctx context.Context, repo, commit string) ([]File, error) {
	on := subject{repo: repo, revision: commit}
	address := c.apiAddress(repo, "tree", commit) + "?recursive=true"
	seen := map[string]bool{}
	var all []File
	for page := 0; address != ""; page++ {
		if seen[address] || page == maxTreePages {
			return nil, badListing(on, fmt.Errorf("page %d of the listing leads back to an earlier one", page))
		}
		seen[address] = true
		data, header, err := c.fetch(ctx, address, on, maxListing)
		if err != nil {
			return nil, err
		}
		files, err := parseTree(data)
		if err != nil {
			return nil, badListing(on, err)
		}
		if all = append(all, files...); len(all) > maxFiles {
			return nil, badListing(on, fmt.Errorf("more than %d files", maxFiles))
		}
		if address, err = c.nextPage(address, nextLink(header.Get("Link"))); err != nil {
			return nil, badListing(on, err)
		}
	}
	return all, nil
}

// nextPage makes the next page's address; it must stay with the Hub, for the token goes there.
func (c *Client) nextPage(current, next string) (string, error) {
	if next == "" {
		return "", nil
	}
	base, err := url.Parse(current)
	if err != nil {
		return "", err
	}
	u, err := base.Parse(next)
	if err != nil {
		return "", fmt.Errorf("the next page has an unusable address")
	}
	u = c.mirrored(u)
	if !c.trusted(u) {
		return "", fmt.Errorf("the next page is on the foreign host %s", u.Host)
	}
	return u.String(), nil
}

// parseTree reads one page of /api/models/{id}/tree/{rev}?recursive=true. Folders are left out.
func parseTree(data []byte) ([]File, error) {
	var entries []struct {
		Type, OID, Path string
		Size            int64
		LFS             *struct {
			OID  string
			Size int64
		}
	}
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, fmt.Errorf("not the JSON of a listing: %w", err)
	}
	var files []File
	for _, e := range entries {
		if e.Type != "file" {
			continue
		}
		f := File{Path: e.Path, Size: e.Size, GitSHA1: e.OID}
		if e.LFS != nil {
			f.SHA256, f.GitSHA1, f.Size = e.LFS.OID, "", e.LFS.Size
		}
		files = append(files, f)
	}
	return files, nil
}

// checkFiles sorts by path and refuses names, sizes and digests that nobody can rely on.
func checkFiles(files []File) error {
	sort.Slice(files, func(i, j int) bool { return files[i].Path < files[j].Path })
	for i, f := range files {
		if err := cleanName(f.Path); err != nil {
			return err
		}
		if f.Size < 0 || f.Size > maxFileSize {
			return fmt.Errorf("file %q has %d bytes", f.Path, f.Size)
		}
		if !(sha256Name.MatchString(f.SHA256) && f.GitSHA1 == "" || f.SHA256 == "" && commitName.MatchString(f.GitSHA1)) {
			return fmt.Errorf("file %q has no usable digest", f.Path)
		}
		if i > 0 && files[i-1].Path == f.Path {
			return fmt.Errorf("file %q is listed twice", f.Path)
		}
	}
	return nil
}

// probe asks for the head of a file: the card and the listing of a gated repo are open to all, its files are not.
func (c *Client) probe(ctx context.Context, r *Revision) error {
	path := "config.json"
	if _, err := r.File(path); err != nil {
		if len(r.Files) == 0 {
			return nil
		}
		path = r.Files[0].Path
	}
	granted := errors.New("the Hub points to the file")
	watch := func(resp *http.Response) error {
		if isRedirect(resp.StatusCode) && resp.Header.Get("X-Linked-Etag") != "" {
			return granted // what follows is signed for GET alone
		}
		return nil
	}
	on := subject{repo: r.Repo}
	resp, err := c.send(ctx, http.MethodHead, c.fileAddress(r.Canonical, r.Commit, path), nil, on, hops{visit: watch})
	switch {
	case err == granted:
		return nil
	case err != nil:
		return err
	case resp.StatusCode/100 != 2:
		return c.statusError(resp, on)
	}
	drain(resp.Body)
	return nil
}

// suggestRevision adds close matches to err.
func (c *Client) suggestRevision(ctx context.Context, repo, revision string, err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	e.Next = "its branches and tags are listed at " + c.address("/"+repo+"/tree/main")
	data, _, lost := c.fetch(ctx, c.apiAddress(repo, "refs"), subject{repo: repo}, maxListing)
	if lost != nil {
		return e
	}
	type ref struct{ Name string }
	var refs struct{ Branches, Tags []ref }
	if json.Unmarshal(data, &refs) != nil {
		return e
	}
	var names []string
	for _, r := range append(refs.Branches, refs.Tags...) {
		names = append(names, printable(r.Name, maxRevision))
	}
	if s := didYouMean(revision, names); s != "" {
		e.Next = s
	}
	return e
}
