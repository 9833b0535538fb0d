package hubtest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing/fstest"
)

// uploads is the write side of a Hub: what was brought into its storage and is not part of a commit yet.
type uploads struct {
	writers map[string][]string       // token -> organizations
	objects map[string][]byte         // by SHA-256, proven when they came
	pieces  map[string]map[int][]byte // upload -> part -> bytes
	digests map[string]string         // upload -> SHA-256 that was announced
	sizes   map[string]int64
}

// Writer lets a token make repos in the organizations and write to what is there.
func (h *Hub) Writer(token string, organizations ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.up.writers[token] = organizations
}

// Objects is the number of large objects that were brought here and proven.
func (h *Hub) Objects() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.up.objects)
}

func newUploads() uploads {
	return uploads{writers: map[string][]string{}, objects: map[string][]byte{}, pieces: map[string]map[int][]byte{}, digests: map[string]string{}, sizes: map[string]int64{}}
}

// mayWrite answers for who may not.
func (h *Hub) mayWrite(w http.ResponseWriter, r *http.Request, id string) bool {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	org, _, _ := strings.Cut(id, "/")
	h.mu.Lock()
	orgs, known := h.up.writers[token]
	h.mu.Unlock()
	switch {
	case token == "":
		refuse(w, 401, "", "Invalid username or password.")
	case strings.HasPrefix(token, "bad"):
		refuse(w, 401, "", "Invalid credentials in Authorization header")
	case !known || !slices.Contains(orgs, org):
		refuse(w, 403, "", "You don't have the rights to create a model under the namespace \""+org+"\"")
	default:
		return true
	}
	return false
}

// serveWrite knows the calls that change something. It tells whether the request was one.
func (h *Hub) serveWrite(w http.ResponseWriter, r *http.Request, p string) bool {
	if r.Method != http.MethodPost {
		return false
	}
	if r.TransferEncoding != nil {
		refuse(w, 411, "", "Length Required")
		return true
	}
	switch {
	case p == "api/repos/create":
		h.createRepo(w, r)
	case p == "api/validate-yaml":
		answer(w, 200, map[string]any{"errors": []any{}, "warnings": []any{}})
	case strings.HasSuffix(p, ".git/info/lfs/objects/batch"):
		h.lfsBatch(w, r, strings.TrimSuffix(p, ".git/info/lfs/objects/batch"))
	case strings.HasPrefix(p, "lfs-complete/"):
		h.complete(w, r, strings.TrimPrefix(p, "lfs-complete/"))
	case strings.HasPrefix(p, "lfs-verify/"):
		h.verify(w, r)
	default:
		rest, ok := strings.CutPrefix(p, "api/models/")
		parts := strings.Split(rest, "/")
		if !ok || len(parts) != 4 || parts[2] != "preupload" && parts[2] != "commit" {
			return false
		}
		id := parts[0] + "/" + parts[1]
		repo := h.repo(id)
		if repo == nil {
			refuse(w, 404, "RepoNotFound", "Repository not found")
			return true
		}
		if !h.mayWrite(w, r, id) {
			return true
		}
		c, rev := repo.revision(parts[3])
		if c == nil {
			refuse(w, 404, "RevisionNotFound", "Invalid rev id: "+rev)
			return true
		}
		if parts[2] == "preupload" {
			preupload(w, r, c)
		} else {
			h.commit(w, r, repo, c, parts[3])
		}
	}
	return true
}

// decode answers for a body that is not JSON.
func decode(w http.ResponseWriter, r *http.Request, v any) bool {
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		refuse(w, 400, "", "Bad request: "+err.Error())
		return false
	}
	return true
}

func (h *Hub) createRepo(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		Name, Organization, Type string
		Private                  bool
	}
	if !decode(w, r, &ask) {
		return
	}
	id := ask.Organization + "/" + ask.Name
	if !h.mayWrite(w, r, id) {
		return
	}
	if h.repo(id) != nil {
		refuse(w, 409, "", "You already created this model repo")
		return
	}
	repo := h.Add(id, fstest.MapFS{".gitattributes": {Data: []byte("*.gguf filter=lfs diff=lfs merge=lfs -text\n")}})
	repo.Private = ask.Private
	h.mu.Lock()
	for token, orgs := range h.up.writers {
		repo.Granted[token] = slices.Contains(orgs, ask.Organization)
	}
	h.mu.Unlock()
	answer(w, 200, map[string]any{"url": h.URL() + "/" + id, "name": id, "id": "1"})
}

// preupload decides by the rules by which the fake stores files.
func preupload(w http.ResponseWriter, r *http.Request, c *commit) {
	var ask struct {
		Files []struct {
			Path, Sample string
			Size         int64
		}
	}
	if !decode(w, r, &ask) {
		return
	}
	var files []map[string]any
	for _, f := range ask.Files {
		if _, err := base64.StdEncoding.DecodeString(f.Sample); err != nil {
			refuse(w, 400, "", "sample is not base64")
			return
		}
		mode := "regular"
		if large(f.Path, f.Size) {
			mode = "lfs"
		}
		a := map[string]any{"path": f.Path, "uploadMode": mode, "shouldIgnore": false}
		if old := c.find(f.Path); old != nil {
			a["oid"] = old.digest
		}
		files = append(files, a)
	}
	answer(w, 200, map[string]any{"files": files, "commitOid": c.sha})
}

// lfsBatch hands out addresses for the objects that are not there: one, or one for each part of a large object.
func (h *Hub) lfsBatch(w http.ResponseWriter, r *http.Request, id string) {
	var ask struct {
		Operation string
		HashAlgo  string `json:"hash_algo"`
		Objects   []struct {
			OID  string
			Size int64
		}
	}
	if !decode(w, r, &ask) {
		return
	}
	if h.repo(id) == nil {
		refuse(w, 404, "RepoNotFound", "Repository not found")
		return
	}
	if !h.mayWrite(w, r, id) {
		return
	}
	transfer := "basic"
	var objects []map[string]any
	for _, o := range ask.Objects {
		a := map[string]any{"oid": o.OID, "size": o.Size}
		if !h.has(o.OID) {
			up := h.announce(o.OID, o.Size)
			action := map[string]any{"href": h.storage.URL + "/upload/" + up + "/0?X-Signature=" + h.signature()}
			if h.PartSize > 0 && o.Size > h.PartSize {
				transfer = "multipart"
				header := map[string]any{"chunk_size": strconv.FormatInt(h.PartSize, 10)}
				for i := int64(0); i*h.PartSize < o.Size; i++ {
					header[fmt.Sprintf("%05d", i+1)] = h.storage.URL + "/upload/" + up + "/" + strconv.FormatInt(i+1, 10) + "?X-Signature=" + h.signature()
				}
				action = map[string]any{"href": h.URL() + "/lfs-complete/" + up, "header": header}
			}
			a["actions"] = map[string]any{"upload": action, "verify": map[string]any{"href": h.URL() + "/lfs-verify/" + id, "header": map[string]any{}}}
		}
		objects = append(objects, a)
	}
	w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
	answer(w, 200, map[string]any{"transfer": transfer, "objects": objects})
}

// has tells whether an object is in the storage, brought or part of a commit.
func (h *Hub) has(digest string) bool {
	h.mu.Lock()
	_, ok := h.up.objects[digest]
	h.mu.Unlock()
	for _, repo := range h.all() {
		ok = ok || repo.holds(digest)
	}
	return ok
}

// holds tells whether a commit has a large file with these bytes.
func (r *Repo) holds(digest string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, c := range r.commits {
		if slices.ContainsFunc(c.files, func(f *file) bool { return f.lfs && f.digest == digest }) {
			return true
		}
	}
	return false
}

// announce opens an upload.
func (h *Hub) announce(digest string, size int64) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serial++
	up := "u" + strconv.Itoa(h.serial)
	h.up.digests[up], h.up.sizes[up], h.up.pieces[up] = digest, size, map[int][]byte{}
	return up
}

// signature is good for one address.
func (h *Hub) signature() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.serial++
	s := "w" + strconv.Itoa(h.serial)
	h.signed[s] = 1 << 30
	return s
}

// serveUpload takes an object or a part of one: PUT /upload/{upload}/{part}, part 0 being the whole.
func (h *Hub) serveUpload(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut || !h.redeem(r.URL.Query().Get("X-Signature")) {
		http.Error(w, "Request has expired", http.StatusForbidden)
		return
	}
	if r.ContentLength <= 0 {
		http.Error(w, "A header you provided implies functionality that is not implemented", http.StatusNotImplemented)
		return
	}
	up, part := path.Split(strings.TrimPrefix(r.URL.Path, "/upload/"))
	up = strings.TrimSuffix(up, "/")
	n, err := strconv.Atoi(part)
	data, rerr := io.ReadAll(r.Body)
	if err != nil || rerr != nil || int64(len(data)) != r.ContentLength {
		http.Error(w, "IncompleteBody", http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	pieces, open := h.up.pieces[up]
	digest, size := h.up.digests[up], h.up.sizes[up]
	if open && n > 0 {
		pieces[n] = data
	}
	h.received += int64(len(data))
	h.mu.Unlock()
	switch {
	case !open:
		http.Error(w, "NoSuchUpload", http.StatusNotFound)
	case n > 0:
		w.Header().Set("ETag", `"`+blobID(data)+`"`)
	case int64(len(data)) != size || !h.store(digest, data):
		http.Error(w, "BadDigest", http.StatusBadRequest)
	default:
		w.Header().Set("ETag", `"`+digest+`"`)
	}
}

// store keeps bytes that are what they were announced as.
func (h *Hub) store(digest string, data []byte) bool {
	sum := sha256.Sum256(data)
	if hex.EncodeToString(sum[:]) != digest {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.up.objects[digest] = data
	return true
}

// complete puts an object together. All its parts must be there, under the ETags that were handed out.
func (h *Hub) complete(w http.ResponseWriter, r *http.Request, up string) {
	var ask struct {
		OID   string
		Parts []struct {
			PartNumber int
			ETag       string
		}
	}
	if !decode(w, r, &ask) {
		return
	}
	h.mu.Lock()
	pieces, digest := h.up.pieces[up], h.up.digests[up]
	var data []byte
	good := pieces != nil && digest == ask.OID && len(ask.Parts) == len(pieces)
	for i, p := range ask.Parts {
		good = good && p.PartNumber == i+1 && p.ETag == `"`+blobID(pieces[i+1])+`"`
		data = append(data, pieces[i+1]...)
	}
	delete(h.up.pieces, up)
	h.mu.Unlock()
	if !good || !h.store(digest, data) {
		refuse(w, 400, "", "InvalidPart")
		return
	}
	answer(w, 200, map[string]any{"success": true})
}

// verify is the last step of an upload, by the account that began it.
func (h *Hub) verify(w http.ResponseWriter, r *http.Request) {
	var ask struct {
		OID  string
		Size int64
	}
	if !decode(w, r, &ask) || !h.mayWrite(w, r, strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, h.Prefix), "/lfs-verify/")) {
		return
	}
	h.mu.Lock()
	data, ok := h.up.objects[ask.OID]
	h.mu.Unlock()
	if !ok || int64(len(data)) != ask.Size {
		refuse(w, 404, "", "object not found")
		return
	}
	answer(w, 200, map[string]any{})
}

// commitLine is one line of a commit.
type commitLine struct {
	Key   string
	Value struct {
		Summary, ParentCommit   string
		Path, Encoding, Content string
		Algo, OID               string
		Size                    int64
	}
}

// commit reads one JSON object a line: the header, then what changes. A large file must have been brought before.
func (h *Hub) commit(w http.ResponseWriter, r *http.Request, repo *Repo, base *commit, branch string) {
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-ndjson") {
		refuse(w, 415, "", "a commit is application/x-ndjson")
		return
	}
	next := &commit{files: slices.Clone(base.files)}
	d := json.NewDecoder(r.Body)
	for n := 0; ; n++ {
		var l commitLine
		err := d.Decode(&l)
		if err == io.EOF && n > 1 {
			break
		}
		if err != nil || (l.Key == "header") != (n == 0) {
			refuse(w, 400, "", "malformed commit")
			return
		}
		if n == 0 {
			if l.Value.Summary == "" {
				refuse(w, 400, "", "a commit needs a summary")
				return
			}
			if p := l.Value.ParentCommit; p != "" && p != base.sha {
				refuse(w, 412, "", "A commit has happened since. Please refresh and try again.")
				return
			}
			continue
		}
		f, why := h.changed(l)
		if why != "" {
			refuse(w, 400, "", why)
			return
		}
		next.files = slices.DeleteFunc(next.files, func(o *file) bool { return o.path == f.path })
		next.files = append(next.files, f)
	}
	sha := repo.commit(branch, next)
	answer(w, 200, map[string]any{"success": true, "commitOid": sha, "commitUrl": h.URL() + "/" + repo.ID + "/commit/" + sha, "pullRequestUrl": nil})
}

// changed is the file of a line, or why it cannot be one.
func (h *Hub) changed(l commitLine) (f *file, why string) {
	v := l.Value
	switch {
	case v.Path == "" || path.Clean("/"+v.Path) != "/"+v.Path:
		return nil, "invalid path " + v.Path
	case l.Key == "file":
		data, err := base64.StdEncoding.DecodeString(v.Content)
		if err != nil || v.Encoding != "base64" {
			return nil, "content is not base64"
		}
		if large(v.Path, int64(len(data))) {
			return nil, "Your push was rejected because it contains files larger than 10 MiB or binary files: " + v.Path
		}
		return newFile(v.Path, data), ""
	case l.Key == "lfsFile":
		h.mu.Lock()
		data, ok := h.up.objects[v.OID]
		h.mu.Unlock()
		if !ok || v.Algo != "sha256" || v.Size != 0 && v.Size != int64(len(data)) {
			return nil, "LFS pointer pointed to a file that does not exist: " + v.Path
		}
		f = newFile(v.Path, data)
		f.lfs, f.digest = true, v.OID
		return f, ""
	}
	return nil, "unknown key " + l.Key
}

// Files lists what a branch holds, by path, with the digest of each: SHA-256 of large files, git's of others.
func (r *Repo) Files(branch string) map[string]string {
	c, _ := r.revision(branch)
	all := map[string]string{}
	for _, f := range c.files {
		all[f.path] = f.digest
	}
	return all
}
