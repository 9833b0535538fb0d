package hfclient

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"quern/hfclient/hubtest"
)

// newFiles are a model of two large files, of which one is on disk, and what stands beside it.
func newFiles(t testing.TB) []NewFile {
	t.Helper()
	var files []NewFile
	for name, data := range map[string][]byte{
		"tiny-Q4_K_M.gguf": noise(300_000, 1), "tiny-Q8_0.gguf": noise(500_000, 2), "README.md": []byte("---\nlicense: mit\n---\n"), "empty.txt": nil,
	} {
		sum := sha256.Sum256(data)
		f := NewFile{Path: name, Data: data, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
		if name == "tiny-Q8_0.gguf" {
			f.Local, f.Data = filepath.Join(t.TempDir(), name), nil
			if err := os.WriteFile(f.Local, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b NewFile) int { return strings.Compare(a.Path, b.Path) })
	return files
}

// checkUploaded pulls everything back and compares.
func checkUploaded(t testing.TB, hub *hubtest.Hub, repo string, files []NewFile) {
	t.Helper()
	c := testClient(t, hub)
	s, err := c.Pull(t.Context(), Request{Repo: repo, All: true})
	if err != nil {
		t.Fatal(err)
	}
	want := fstest.MapFS{}
	for _, f := range files {
		data, err := f.head(f.Size)
		if err != nil {
			t.Fatal(err)
		}
		want[f.Path] = &fstest.MapFile{Data: data}
	}
	n := 0
	for _, f := range s.Files {
		got, err := os.ReadFile(filepath.Join(s.Dir, f.Path))
		if err != nil || want[f.Path] != nil && string(got) != string(want[f.Path].Data) {
			t.Errorf("%s differs: %v", f.Path, err)
		}
		if want[f.Path] != nil {
			n++
		}
	}
	if n != len(files) {
		t.Errorf("%d files came back of %d", n, len(files))
	}
}

// A new repo is private, holds what was sent, and a second upload sends nothing; whole or in parts; the storage sees no token.
func TestUpload(t *testing.T) {
	for _, part := range []int64{0, 64 << 10} {
		hub, _ := testHub(t)
		hub.PartSize = part
		hub.Writer(testToken, "acme")
		c := testClient(t, hub)
		up := Upload{Repo: "acme/new", Message: "first", Files: newFiles(t), Keep: filepath.Join(t.TempDir(), "keep")}
		var last Progress
		up.Progress = func(p Progress) { last = p }
		done, err := c.Upload(t.Context(), up)
		if err != nil {
			t.Fatal(err)
		}
		if !done.Created || !done.Private || done.Sent != 800_000 || done.Present != 0 || done.Unchanged != 0 || last.TotalDone != 800_000 {
			t.Errorf("%+v, progress %+v", done, last)
		}
		checkUploaded(t, hub, "acme/new", up.Files)
		hub.Forget()
		again, err := c.Upload(t.Context(), up)
		if err != nil || again.Sent != 0 || hub.Received() != 0 || again.Unchanged != 4 || again.Commit != done.Commit || again.Created {
			t.Errorf("a second time: %+v, %v, %d bytes", again, err, hub.Received())
		}
		// The same bytes under another name are a commit and no upload.
		up.Files = []NewFile{{Path: "copy.gguf", Local: up.Files[3].Local, Size: up.Files[3].Size, SHA256: up.Files[3].SHA256}}
		other, err := c.Upload(t.Context(), up)
		if err != nil || other.Sent != 0 || other.Present != 1 || other.Commit == done.Commit {
			t.Errorf("under another name: %+v, %v", other, err)
		}
		if l := hub.Leaks(testToken); len(l) > 0 {
			t.Errorf("token sent to %v", l)
		}
		if left, _ := filepath.Glob(filepath.Join(up.Keep, "*")); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	}
}

// An upload in parts that was stopped goes on where it was, and begins anew where the Hub has forgotten it.
func TestUploadContinues(t *testing.T) {
	for _, forgotten := range []bool{false, true} {
		hub, _ := testHub(t)
		hub.PartSize = 50_000
		hub.Writer(testToken, "acme")
		files := newFiles(t)[3:] // the larger one: ten parts
		up := Upload{Repo: "acme/new", Message: "first", Files: files, Keep: t.TempDir()}
		ctx, stop := context.WithCancel(t.Context())
		hub.Fault(hubtest.Fault{Nth: 6, Times: -1, Method: "PUT", Do: func(x *hubtest.Exchange) { stop(); hubtest.Hang()(x) }})
		if _, err := testClient(t, hub, func(o *Options) { o.PerFile = 1 }).Upload(ctx, up); !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped: %v", err)
		}
		hub.Forget()
		want := int64(250_000)
		if forgotten {
			hub.Fault(hubtest.Fault{Method: "PUT", Do: hubtest.Expire()})
			want = 500_000
		}
		done, err := testClient(t, hub).Upload(t.Context(), up)
		if forgotten && err != nil { // all addresses are forgotten, those of this run too: the next one gets new ones
			done, err = testClient(t, hub).Upload(t.Context(), up)
		}
		if err != nil || done.Sent != want {
			t.Errorf("forgotten %v: %+v, %v", forgotten, done, err)
		}
		checkUploaded(t, hub, "acme/new", files)
	}
}

// What servers and networks do to an upload: either it ends well, or the error says what to do.
func TestUploadFaults(t *testing.T) {
	none := func(o *Options) { o.Token = Token{} }
	other := func(o *Options) { o.Token.Value = "hf_reader" }
	for _, tc := range []struct {
		name   string
		fault  hubtest.Fault
		scene  func(*hubtest.Hub)
		change func(*Options)
		up     func(*Upload)
		want   error
		hint   string
	}{
		{name: "busy", fault: hubtest.Fault{On: hubtest.Main, Method: "POST", Times: 3, Do: hubtest.Status(429, "Retry-After", "0")}},
		{name: "storage fails for a while", fault: hubtest.Fault{Method: "PUT", Times: 3, Do: hubtest.Status(503)}},
		{name: "storage fails", fault: hubtest.Fault{Method: "PUT", Times: -1, Do: hubtest.Status(500)}, want: ErrUnavailable, hint: "run the same command again"},
		{name: "storage refuses", fault: hubtest.Fault{Method: "PUT", Times: -1, Do: hubtest.Status(403)}, want: ErrUnavailable, hint: "run the same command again"},
		{name: "no token", change: none, want: ErrUnauthorized, hint: "set HF_TOKEN to a token with write access"},
		{name: "bad token", change: func(o *Options) { o.Token.Value = "bad" }, want: ErrUnauthorized, hint: "make a new token"},
		{name: "token that reads only", change: other, want: ErrUnauthorized, hint: "write access"},
		{name: "committed beside", fault: hubtest.Fault{On: hubtest.Main, Path: "/api/models/acme/new/commit/main", Times: 2, Do: hubtest.Status(412)}},
		{name: "others always first", fault: hubtest.Fault{On: hubtest.Main, Path: "/api/models/acme/new/commit/main", Times: -1, Do: hubtest.Status(409)}, want: ErrConflict, hint: "again"},
		{name: "too large", fault: hubtest.Fault{On: hubtest.Main, Path: "/api/models/acme/new/commit/main", Times: -1, Do: hubtest.Status(413)}, want: ErrUnavailable, hint: "--split-max-size"},
		{name: "two at once make the repo", fault: hubtest.Fault{On: hubtest.Main, Path: "/api/repos/create", Do: func(x *hubtest.Exchange) {
			x.Hub.Add("acme/new", fstest.MapFS{}).Private = true
			x.Next.ServeHTTP(x.W, x.R)
		}}, want: ErrConflict, hint: "again"}, // nobody is granted what the fake did not make for him
		{name: "open repo that was not meant", scene: func(h *hubtest.Hub) { h.Add("acme/new", tiny()) }, want: ErrInvalid, hint: "--public"},
		{name: "open repo", scene: func(h *hubtest.Hub) { h.Add("acme/new", tiny()) }, up: func(u *Upload) { u.Public = true }},
		{name: "a name that leaves the repo", up: func(u *Upload) { u.Files[0].Path = "../x" }, want: ErrInvalid},
		{name: "no such branch", scene: func(h *hubtest.Hub) { h.Add("acme/new", tiny()) }, up: func(u *Upload) { u.Public, u.Revision = true, "dev" }, want: ErrRevisionNotFound},
		{name: "bytes that are not what was promised", up: func(u *Upload) { u.Files[2].Data = noise(300_000, 9) }, want: ErrUnavailable},
		{name: "offline", change: func(o *Options) { o.Offline = true }, want: ErrOffline},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hub, _ := testHub(t)
			hub.Writer(testToken, "acme")
			if tc.scene != nil {
				tc.scene(hub)
			}
			if tc.fault.Do != nil {
				hub.Fault(tc.fault)
			}
			change := tc.change
			if change == nil {
				change = func(*Options) {}
			}
			up := Upload{Repo: "acme/new", Message: "first", Files: newFiles(t)}
			if tc.up != nil {
				tc.up(&up)
			}
			_, err := testClient(t, hub, change).Upload(t.Context(), up)
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			var e *Error
			if errors.As(err, &e) && (!strings.Contains(e.Next, tc.hint) || strings.Contains(err.Error(), testToken)) {
				t.Errorf("%v, hint %q", err, e.Next)
			}
			if err == nil {
				want := map[string]string{}
				for _, f := range up.Files {
					want[f.Path] = f.SHA256
				}
				if got := hub.Repo("acme/new").Files("main"); len(got) < len(want) || got["tiny-Q8_0.gguf"] != want["tiny-Q8_0.gguf"] {
					t.Errorf("the repo holds %v", slices.Sorted(maps.Keys(got)))
				}
			}
		})
	}
}

// The size of a part may be a text or a number of any size.
func TestParts(t *testing.T) {
	for _, chunk := range []any{"16777216", 16777216.} {
		p, err := newParts("oid", 20<<20, &link{Header: map[string]any{"chunk_size": chunk, "00001": "a", "00002": "b", "other": "c"}})
		if err != nil || len(p.URLs) != 2 || p.Chunk != 16<<20 {
			t.Errorf("%v: %+v, %v", chunk, p, err)
		}
	}
}
