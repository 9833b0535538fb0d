package hubtest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sort"
	"strconv"
	"strings"
)

// serveMain routes the Hub's own addresses.
func (h *Hub) serveMain(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Request-Id", "Root=1-"+strconv.Itoa(len(r.URL.Path)))
	p, ok := strings.CutPrefix(r.URL.EscapedPath(), h.Prefix+"/")
	if !ok {
		refuse(w, 404, "", "no Hub here")
		return
	}
	if p == "api/whoami-v2" {
		h.whoami(w, r)
		return
	}
	if h.serveWrite(w, r, p) {
		return
	}
	kind := "file"
	if rest, ok := strings.CutPrefix(p, "api/resolve-cache/models/"); ok {
		p = rest
	} else if rest, ok := strings.CutPrefix(p, "api/models/"); ok {
		kind, p = "api", rest
	}
	id, rest := h.splitID(p)
	if to, ok := h.movedTo(id); ok {
		old := h.Prefix + strings.TrimSuffix(strings.TrimPrefix(r.URL.EscapedPath(), h.Prefix), p) + to + "/" + rest
		if r.URL.RawQuery != "" {
			old += "?" + r.URL.RawQuery
		}
		w.Header().Set("Location", old)
		w.WriteHeader(http.StatusTemporaryRedirect)
		return
	}
	repo := h.repo(id)
	if code, message := access(repo, r, kind == "file"); code != "" || message != "" {
		status := http.StatusUnauthorized
		switch {
		case message == disabled:
			status = http.StatusForbidden
		case r.Header.Get("Authorization") == "" || code == "":
		case code == "GatedRepo":
			status = http.StatusForbidden
		default:
			status = http.StatusNotFound
		}
		refuse(w, status, code, message)
		return
	}
	if kind == "api" {
		h.serveAPI(w, r, repo, rest)
		return
	}
	h.serveResolve(w, r, repo, strings.TrimPrefix(rest, "resolve/"))
}

const disabled = "Access to this resource is disabled."

// access is why a request gets nothing: code and message.
func access(repo *Repo, r *http.Request, file bool) (code, message string) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case strings.HasPrefix(token, "bad"):
		return "", "Invalid credentials in Authorization header"
	case repo == nil:
		return "RepoNotFound", "Repository not found"
	case repo.Disabled:
		return "", disabled
	case repo.Private && !repo.Granted[token]:
		return "RepoNotFound", "Repository not found"
	case repo.Gated && file && !repo.Granted[token]:
		return "GatedRepo", "Access to model " + repo.ID + " is restricted."
	}
	return "", ""
}

// refuse says why three times, as the Hub does: in two headers and in the body's JSON.
func refuse(w http.ResponseWriter, status int, code, message string) {
	if code != "" {
		w.Header().Set("X-Error-Code", code)
	}
	w.Header().Set("X-Error-Message", message)
	answer(w, status, map[string]string{"error": message})
}

// answer tells its length, so that a cut body is noticed.
func answer(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		status, data = 500, []byte(err.Error())
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// Repo is nil for an unknown id.
func (h *Hub) Repo(id string) *Repo { return h.repo(id) }

// repo is nil for an unknown id.
func (h *Hub) repo(id string) *Repo {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.repos[id]
}

// movedTo knows the old names of renamed repos.
func (h *Hub) movedTo(id string) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	to, ok := h.renamed[id]
	return to, ok
}

// splitID cuts `org/name` or `name` from a path.
func (h *Hub) splitID(p string) (id, rest string) {
	parts := strings.SplitN(p, "/", 3)
	if len(parts) >= 2 {
		id = parts[0] + "/" + parts[1]
		if _, moved := h.movedTo(id); moved || h.repo(id) != nil {
			return id, strings.Join(parts[2:], "/")
		}
		if _, moved := h.movedTo(parts[0]); moved || h.repo(parts[0]) != nil {
			return parts[0], strings.Join(parts[1:], "/")
		}
		return id, strings.Join(parts[2:], "/")
	}
	return p, ""
}

// whoami is what a client asks to learn whether its token is good; tokens that begin with "bad" are not.
func (h *Hub) whoami(w http.ResponseWriter, r *http.Request) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	if token == "" || strings.HasPrefix(token, "bad") {
		refuse(w, 401, "", "Invalid credentials in Authorization header")
		return
	}
	answer(w, 200, map[string]any{"type": "user", "name": "tester", "orgs": []any{}})
}

// revision resolves an escaped ref.
func (repo *Repo) revision(escaped string) (*commit, string) {
	rev, err := url.PathUnescape(escaped)
	if err != nil {
		return nil, escaped
	}
	repo.mu.RLock()
	defer repo.mu.RUnlock()
	if sha, ok := repo.refs[rev]; ok {
		rev = sha
	}
	return repo.commits[rev], rev
}

// serveAPI knows the calls that a download needs: revision, tree and refs.
func (h *Hub) serveAPI(w http.ResponseWriter, r *http.Request, repo *Repo, rest string) {
	what, tail, _ := strings.Cut(rest, "/")
	if what == "refs" {
		answer(w, 200, repo.listRefs())
		return
	}
	if what == "" {
		tail = "main"
	}
	ref, sub, _ := strings.Cut(tail, "/")
	c, rev := repo.revision(ref)
	if c == nil {
		refuse(w, 404, "RevisionNotFound", "Invalid rev id: "+rev)
		return
	}
	switch what {
	case "", "revision":
		answer(w, 200, repo.info(c, r.URL.Query().Get("blobs") != ""))
	case "tree":
		h.tree(w, r, c, sub)
	default:
		refuse(w, 404, "", "no such call")
	}
}

// listRefs has converts, too: a client may expect the key.
func (repo *Repo) listRefs() map[string]any {
	lists := map[string][]map[string]string{"branches": {}, "tags": {}, "converts": {}}
	repo.mu.RLock()
	defer repo.mu.RUnlock()
	var names []string
	for n := range repo.refs {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		list, prefix := "branches", "refs/heads/"
		if repo.tags[n] {
			list, prefix = "tags", "refs/tags/"
		}
		lists[list] = append(lists[list], map[string]string{"name": n, "ref": prefix + n, "targetCommit": repo.refs[n]})
	}
	return map[string]any{"branches": lists["branches"], "tags": lists["tags"], "converts": lists["converts"]}
}

// info has size and digest of each file only if blobs were asked for. The blob id of a large file is that of its
// pointer, not of its data.
func (repo *Repo) info(c *commit, blobs bool) map[string]any {
	siblings := []map[string]any{}
	for _, f := range c.files {
		s := map[string]any{"rfilename": f.path}
		if blobs && !repo.NoBlobs {
			s["size"], s["blobId"] = f.listed, f.digest
			if f.lfs {
				s["blobId"] = blobID([]byte(f.digest))
				s["lfs"] = map[string]any{"sha256": f.digest, "size": f.listed, "pointerSize": 134}
			}
		}
		siblings = append(siblings, s)
	}
	if repo.NoList {
		siblings = siblings[:0]
	}
	var gated any = false
	if repo.Gated {
		gated = "manual"
	}
	return map[string]any{
		"_id": "621ffdc036468d709f17434d", "id": repo.ID, "modelId": repo.ID, "sha": c.sha, "private": repo.Private,
		"gated": gated, "disabled": repo.Disabled, "siblings": siblings, "tags": []string{}, "downloads": 0, "likes": 0,
		"lastModified": "2026-01-02T03:04:05.000Z", "createdAt": "2026-01-02T03:04:05.000Z",
	}
}

// tree answers a page of a listing; folders are entries of their own, as on the Hub.
func (h *Hub) tree(w http.ResponseWriter, r *http.Request, c *commit, sub string) {
	q := r.URL.Query()
	recursive := q.Get("recursive") == "true" || q.Get("recursive") == "True" || q.Get("recursive") == "1"
	entries := treeEntries(c, sub, recursive)
	if sub != "" && len(entries) == 0 {
		refuse(w, 404, "EntryNotFound", sub+" does not exist")
		return
	}
	from, _ := strconv.Atoi(q.Get("cursor"))
	size := h.PageSize
	if size == 0 {
		size = 1000
	}
	from = max(0, min(from, len(entries)))
	to := min(from+size, len(entries))
	if to < len(entries) {
		q.Set("cursor", strconv.Itoa(to))
		u := url.URL{Scheme: "http", Host: r.Host, Path: r.URL.Path, RawQuery: q.Encode()}
		w.Header().Set("Link", fmt.Sprintf(`<%s>; rel="next"`, u.String()))
	}
	answer(w, 200, entries[from:to])
}

// treeEntries has each folder once, before its first file, and its size is 0.
func treeEntries(c *commit, sub string, recursive bool) []map[string]any {
	entries := []map[string]any{}
	folders := map[string]bool{}
	for _, f := range c.files {
		rest := f.path
		if sub != "" {
			var ok bool
			if rest, ok = strings.CutPrefix(f.path, sub+"/"); !ok {
				continue
			}
		}
		for i, ch := range rest {
			dir := strings.TrimSuffix(f.path, rest) + rest[:i]
			if ch == '/' && !folders[dir] && (recursive || !strings.Contains(rest[:i], "/")) {
				folders[dir] = true
				entries = append(entries, map[string]any{"type": "directory", "oid": blobID([]byte(dir)), "size": 0, "path": dir})
			}
		}
		if !recursive && strings.Contains(rest, "/") {
			continue
		}
		e := map[string]any{"type": "file", "oid": f.digest, "size": f.listed, "path": f.path}
		if f.lfs {
			e["oid"] = blobID([]byte(f.digest))
			e["lfs"] = map[string]any{"oid": f.digest, "size": f.listed, "pointerSize": 134}
		}
		entries = append(entries, e)
	}
	return entries
}

// serveResolve gives a small file itself and points to the storage host for a large one.
func (h *Hub) serveResolve(w http.ResponseWriter, r *http.Request, repo *Repo, rest string) {
	ref, name, _ := strings.Cut(rest, "/")
	c, rev := repo.revision(ref)
	if c == nil {
		refuse(w, 404, "RevisionNotFound", "Invalid rev id: "+rev)
		return
	}
	w.Header().Set("X-Repo-Commit", c.sha)
	name, err := url.PathUnescape(name)
	f := c.find(name)
	if err != nil || f == nil {
		refuse(w, 404, "EntryNotFound", "Entry not found")
		return
	}
	if !f.lfs {
		if !strings.Contains(r.URL.Path, "/api/resolve-cache/") {
			w.Header().Set("ETag", `"`+f.digest+`"`)
			w.Header().Set("Location", h.Prefix+"/api/resolve-cache/models/"+repo.ID+"/"+c.sha+"/"+escape(name)+"?etag=%22"+f.digest+"%22")
			w.WriteHeader(http.StatusTemporaryRedirect)
			return
		}
		w.Header().Set("ETag", `"`+f.digest+`"`)
		h.serveData(w, r, f)
		return
	}
	w.Header().Set("X-Linked-Etag", `"`+f.digest+`"`)
	w.Header().Set("X-Linked-Size", strconv.FormatInt(f.listed, 10))
	w.Header().Set("Location", h.sign(repo.ID, f.digest, f.path))
	w.Header().Set("Content-Length", "1234") // of the answer, not of the file
	w.WriteHeader(http.StatusFound)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(w, "Found. Redirecting to the storage host"+strings.Repeat(".", 1234-38))
	}
}

// find takes the first of several files with one name.
func (c *commit) find(name string) *file {
	for _, f := range c.files {
		if f.path == name {
			return f
		}
	}
	return nil
}

// serveStorage gives the data behind a signed address: /store/{repo}/{digest}/{path}; or takes what is uploaded.
func (h *Hub) serveStorage(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/upload/") {
		h.serveUpload(w, r)
		return
	}
	if !h.redeem(r.URL.Query().Get("X-Signature")) {
		http.Error(w, "Request has expired", http.StatusForbidden)
		return
	}
	for _, repo := range h.all() {
		rest, ok := strings.CutPrefix(r.URL.Path, "/store/"+repo.ID+"/")
		if !ok {
			continue
		}
		digest, name, _ := strings.Cut(rest, "/")
		if f := repo.stored(name, digest); f != nil {
			// 64 hexadecimal digits that are not the file's digest, as the real storage sends.
			w.Header().Set("ETag", `"`+strings.Repeat("5", 24)+blobID([]byte(f.digest))+`"`)
			h.serveData(w, r, f)
			return
		}
	}
	http.NotFound(w, r)
}

// stored finds a file of any commit.
func (repo *Repo) stored(name, digest string) *file {
	repo.mu.RLock()
	defer repo.mu.RUnlock()
	for _, c := range repo.commits {
		if f := c.find(name); f != nil && f.digest == digest {
			return f
		}
	}
	return nil
}

// all is a copy: a repo may be added while a request runs.
func (h *Hub) all() []*Repo {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []*Repo
	for _, r := range h.repos {
		all = append(all, r)
	}
	return all
}
