package hfclient

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"quern/hfclient/hubtest"
)

const testToken = "hf_secretsecretsecret"

// noise gives n bytes that no compression and no accident makes equal.
func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// tiny is a checkpoint of two shards, of which the first takes several segments of 64 KiB.
func tiny() fstest.MapFS {
	return fstest.MapFS{
		"config.json":                      {Data: []byte(`{"model_type":"llama"}`)},
		"tokenizer.json":                   {Data: noise(70_000, 9)},
		"README.md":                        {Data: []byte("# tiny\n")},
		"modeling.py":                      {Data: []byte("print(1)\n")},
		"onnx/model.onnx":                  {Data: noise(100, 8)},
		"model-00001-of-00002.safetensors": {Data: noise(700_001, 1)},
		"model-00002-of-00002.safetensors": {Data: noise(300_000, 2)},
		"model.safetensors.index.json":     {Data: []byte(`{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}`)},
	}
}

const shard1, shard2 = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"

func testHub(t testing.TB) (*hubtest.Hub, *hubtest.Repo) {
	t.Helper()
	hub := hubtest.New()
	t.Cleanup(hub.Close)
	return hub, hub.Add("acme/tiny", tiny())
}

// testClient has waits and segments small enough for tests.
func testClient(t testing.TB, hub *hubtest.Hub, change ...func(*Options)) *Client {
	t.Helper()
	o := Options{
		Endpoint: hub.URL(), CacheDir: filepath.Join(t.TempDir(), "hub"), SegmentSize: 64 << 10,
		StallTimeout: 300 * time.Millisecond, MetadataTimeout: 300 * time.Millisecond, RetryWait: time.Millisecond,
		Token: Token{testToken, "HF_TOKEN"},
	}
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// checkSnapshot compares every chosen file with what the repo holds.
func checkSnapshot(t testing.TB, s *Snapshot, want fstest.MapFS) {
	t.Helper()
	if len(s.Files) == 0 {
		t.Fatal("a snapshot without files")
	}
	for _, f := range s.Files {
		got, err := os.ReadFile(filepath.Join(s.Dir, filepath.FromSlash(f.Path)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want[f.Path].Data) {
			t.Errorf("%s: %d bytes differ from the repo's %d", f.Path, len(got), len(want[f.Path].Data))
		}
	}
}

// checkCache demands that every file under a final name is whole: a blob's data has the digest of its name.
func checkCache(t testing.TB, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(filepath.Dir(p)) != "blobs" || strings.Contains(p, ".quern.") {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		name := filepath.Base(p)
		sum := sha256.Sum256(data)
		got := hex.EncodeToString(sum[:])
		if len(name) == 40 {
			got, err = gitSHA1(p, int64(len(data)))
		}
		if got != name {
			t.Errorf("blob %s has digest %s", name, got)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

func TestPull(t *testing.T) {
	hub, repo := testHub(t)
	c := testClient(t, hub)
	var last Progress
	s, err := c.Pull(t.Context(), Request{Repo: "acme/tiny", Progress: func(p Progress) { last = p }})
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, s, tiny())
	checkCache(t, c.CacheDir())
	if s.Commit != repo.Commit("main") || s.Format != Safetensors || len(s.Weights) != 2 || len(s.Files) != 6 {
		t.Errorf("snapshot %+v", s)
	}
	if last.TotalDone != last.TotalSize || last.FilesDone != 6 || last.Files != 6 {
		t.Errorf("last progress %+v", last)
	}
	for _, left := range []string{".quern.incomplete", ".quern.progress", ".quern.progress.new"} {
		if m, _ := filepath.Glob(filepath.Join(c.CacheDir(), "*", "blobs", "*"+left)); len(m) > 0 {
			t.Errorf("left behind: %v", m)
		}
	}
	ref, err := os.ReadFile(filepath.Join(c.CacheDir(), "models--acme--tiny", "refs", "main"))
	if err != nil || string(ref) != s.Commit {
		t.Errorf("ref %q, %v", ref, err)
	}
	link, err := os.Readlink(filepath.Join(s.Dir, shard1))
	if err != nil || !strings.HasPrefix(link, "../../blobs/") {
		t.Errorf("pointer %q, %v", link, err)
	}
	if leaks := hub.Leaks(testToken); len(leaks) > 0 {
		t.Errorf("token sent to %+v", leaks)
	}

	// The branch costs one request then, the commit none.
	hub.Forget()
	if s, err = c.Pull(t.Context(), Request{Repo: "acme/tiny"}); err != nil || s.Fetched != 0 || len(hub.Requests()) != 1 {
		t.Errorf("second pull: %v, fetched %d, %d requests", err, s.Fetched, len(hub.Requests()))
	}
	hub.Forget()
	if _, err = c.Pull(t.Context(), Request{Repo: "acme/tiny", Revision: s.Commit}); err != nil || len(hub.Requests()) != 0 {
		t.Errorf("pull of a commit: %v, %d requests", err, len(hub.Requests()))
	}
	c.o.Offline = true
	if _, err = c.Pull(t.Context(), Request{Repo: "acme/tiny"}); err != nil || len(hub.Requests()) != 0 {
		t.Errorf("offline pull: %v, %d requests", err, len(hub.Requests()))
	}
}

// Every fault ends in the right bytes or in the right kind of error with a hint; never in a wrong file under a final
// name, and never with the token at another host.
func TestFaults(t *testing.T) {
	type F = hubtest.Fault
	cut := func(ns ...int64) (fs []F) {
		for _, n := range ns {
			fs = append(fs, F{Path: shard1, Do: hubtest.Cut(n)})
		}
		return fs
	}
	cases := []struct {
		name   string
		faults []F
		repo   func(*hubtest.Hub, *hubtest.Repo)
		change func(*Options)
		want   error
		says   string
	}{
		{name: "none"},
		{name: "cut at 0", faults: cut(0)},
		{name: "cut at 1", faults: cut(1)},
		{name: "cut inside a segment, often", faults: cut(100, 65_535, 30_000, 1, 2, 3, 40_000)},
		{name: "always cut at 0", faults: []F{{Path: shard1, Do: hubtest.Cut(0), Times: -1}}, want: ErrUnavailable, says: "broke off"},
		{name: "always cut at 70,000", faults: []F{{Path: shard1, Do: hubtest.Cut(70_000), Times: -1}}},
		{name: "stall", faults: []F{{Path: shard1, Do: hubtest.Stall(1000), Times: 2}}},
		{name: "hang", faults: []F{{Path: shard1, Do: hubtest.Hang()}}},
		{name: "hang of the API", faults: []F{{On: hubtest.Main, Do: hubtest.Hang()}}},
		{name: "429 with Retry-After", faults: []F{{Path: shard1, Do: hubtest.Status(429, "Retry-After", "0"), Times: 3}}},
		{name: "429 with RateLimit", faults: []F{{On: hubtest.Main, Do: hubtest.Status(429, "RateLimit", `"resolvers";r=0;t=0`), Times: 2}}},
		{name: "429 for ever", faults: []F{{On: hubtest.Main, Do: hubtest.Status(429, "Retry-After", "0"), Times: -1}}, want: ErrUnavailable, says: "too many requests"},
		{name: "503 storm", faults: []F{{Do: hubtest.Status(503), Times: 4}, {On: hubtest.Main, Do: hubtest.Status(503), Times: 4}}},
		{name: "503 for ever", faults: []F{{Do: hubtest.Status(503), Times: -1}}, want: ErrUnavailable, says: "503"},
		{name: "500 of the API", faults: []F{{On: hubtest.Main, Do: hubtest.Status(500), Times: -1}}, want: ErrUnavailable, says: "500"},
		{name: "wrong digest once", faults: []F{{Path: shard2, Do: hubtest.Flip(5)}}},
		{name: "wrong digest for ever", faults: []F{{Path: shard2, Do: hubtest.Flip(5), Times: -1}}, want: ErrIntegrity, says: "digest"},
		{name: "wrong digest of a small file", faults: []F{{On: hubtest.Main, Path: "config.json", Do: hubtest.Flip(3), Times: -1}}, want: ErrIntegrity, says: "config.json"},
		{name: "wrong digest in the listing", repo: func(_ *hubtest.Hub, r *hubtest.Repo) { r.Lie(shard1, 0, strings.Repeat("0", 64)) }, want: ErrIntegrity, says: "digest"},
		{name: "wrong size in the listing", repo: func(_ *hubtest.Hub, r *hubtest.Repo) { r.Lie(shard1, 700_002, "") }, want: ErrIntegrity, says: "700002"},
		{name: "too small a size in the listing", repo: func(_ *hubtest.Hub, r *hubtest.Repo) { r.Lie(shard1, 700_000, "") }, want: ErrIntegrity, says: "700000"},
		{name: "lying Content-Range", faults: []F{{Path: shard1, Do: hubtest.Lie("bytes 7-65542/700001")}}},
		{name: "lying Content-Range for ever", faults: []F{{Path: shard1, Do: hubtest.Lie("bytes 7-65542/700001"), Times: -1}}},
		{name: "Content-Range of another file", faults: []F{{Path: shard1, Do: hubtest.Lie("bytes 0-65535/99"), Times: -1}}, want: ErrIntegrity, says: "99 bytes"},
		{name: "no Content-Range", faults: []F{{Path: shard1, Do: hubtest.Lie(""), Times: -1}}},
		{name: "200 for a range", faults: []F{{Path: shard1, Nth: 3, Do: hubtest.IgnoreRange()}}},
		{name: "a mirror without ranges", faults: []F{{Do: hubtest.IgnoreRange(), Times: -1}, {On: hubtest.Main, Do: hubtest.IgnoreRange(), Times: -1}}},
		{name: "a longer body", faults: []F{{Path: shard1, Do: hubtest.Longer(3), Times: -1}}, want: ErrIntegrity, says: "more than"},
		{name: "416 with the right size", faults: []F{{Path: shard1, Nth: 2, Do: hubtest.Unsatisfiable(700_001)}}},
		{name: "416 with a wrong size", faults: []F{{Path: shard1, Do: hubtest.Unsatisfiable(5), Times: -1}}, want: ErrIntegrity, says: "5 bytes"},
		{name: "expired address", faults: []F{{Path: shard1, Nth: 3, Do: hubtest.Expire(), Times: 2}}},
		{name: "addresses for three requests", repo: func(h *hubtest.Hub, _ *hubtest.Repo) { h.Lifetime = 3 }},
		{name: "addresses that never work", faults: []F{{Path: shard1, Do: hubtest.Status(403), Times: -1}}, want: ErrUnavailable, says: "403"},
		{name: "gzip of a file", faults: []F{{Path: shard1, Do: hubtest.Gzip(), Times: -1}, {On: hubtest.Main, Path: "config.json", Do: hubtest.Gzip(), Times: -1}}},
		{name: "gzip of the API", faults: []F{{On: hubtest.Main, Do: hubtest.Gzip()}}},
		{name: "redirect loop", faults: []F{{On: hubtest.Main, Path: shard1, Do: hubtest.Redirect("loop"), Times: -1}}, want: ErrUnavailable, says: "redirected"},
		{name: "redirect loop of the storage", faults: []F{{Do: hubtest.Redirect("loop"), Times: -1}}, want: ErrUnavailable, says: "redirected"},
		{name: "API at a foreign host", faults: []F{{On: hubtest.Main, Do: hubtest.Redirect("foreign"), Times: -1}}, want: ErrUnavailable, says: "foreign"},
		{name: "file at a foreign host", faults: []F{{On: hubtest.Main, Path: "config.json", Do: hubtest.Redirect("foreign"), Times: -1}}, want: ErrIntegrity},
		{name: "a portal's page for the API", faults: []F{{On: hubtest.Main, Do: hubtest.Body("text/html", "<html>"), Times: -1}}, want: ErrIntegrity, says: "JSON"},
		{name: "API cut off", faults: []F{{On: hubtest.Main, Do: hubtest.Cut(50), Times: 2}}},
		{name: "API always cut off", faults: []F{{On: hubtest.Main, Do: hubtest.Cut(50), Times: -1}}, want: ErrUnavailable},
		{name: "gated, no token", repo: func(_ *hubtest.Hub, r *hubtest.Repo) { r.Gated = true }, change: func(o *Options) { o.Token = Token{} }, want: ErrGated, says: "licence"},
		{name: "gated, token without access", repo: func(_ *hubtest.Hub, r *hubtest.Repo) { r.Gated = true }, want: ErrGated, says: "token of HF_TOKEN"},
		{name: "gated, token with access", repo: func(_ *hubtest.Hub, r *hubtest.Repo) { r.Gated, r.Granted[testToken] = true, true }},
		{name: "private, no token", repo: func(_ *hubtest.Hub, r *hubtest.Repo) { r.Private = true }, change: func(o *Options) { o.Token = Token{} }, want: ErrRepoNotFound, says: "not logged in"},
		{name: "private, token with access", repo: func(_ *hubtest.Hub, r *hubtest.Repo) { r.Private, r.Granted[testToken] = true, true }},
		{name: "bad token", change: func(o *Options) { o.Token = Token{"bad", "/home/u/token"} }, want: ErrUnauthorized, says: "/home/u/token"},
		{name: "disabled", repo: func(_ *hubtest.Hub, r *hubtest.Repo) { r.Disabled = true }, want: ErrDisabled, says: "disabled"},
		{name: "listing without sizes", repo: func(_ *hubtest.Hub, r *hubtest.Repo) { r.NoBlobs = true }},
		{name: "empty listing, small pages", repo: func(h *hubtest.Hub, r *hubtest.Repo) { r.NoList, h.PageSize = true, 3 }},
		{name: "a page at a foreign host", faults: []F{{On: hubtest.Main, Path: "/api/models/acme/tiny/tree/*", Do: hubtest.Body("application/json", "[]", "Link", `<http://evil.example/x>; rel="next"`)}},
			repo: func(_ *hubtest.Hub, r *hubtest.Repo) { r.NoList = true }, want: ErrIntegrity, says: "foreign host evil.example"},
		{name: "pages in a circle", faults: []F{{On: hubtest.Main, Path: "/api/models/acme/tiny/tree/*", Times: -1, Do: hubtest.Body("application/json", "[]", "Link", `<?a=1>; rel="next"`)}},
			repo: func(_ *hubtest.Hub, r *hubtest.Repo) { r.NoList = true }, want: ErrIntegrity, says: "leads back"},
		{name: "a name that leaves the folder", repo: func(_ *hubtest.Hub, r *hubtest.Repo) { r.Put("../evil", []byte("x")) }, want: ErrIntegrity, says: "../evil"},
		{name: "slow drip", faults: []F{{Path: shard2, Do: hubtest.Drip(2_000_000)}}},
		{name: "behind a prefix", repo: func(h *hubtest.Hub, _ *hubtest.Repo) { h.Prefix = "/hf/mirror" }},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			hub, repo := testHub(t)
			if tc.repo != nil {
				tc.repo(hub, repo)
			}
			for _, f := range tc.faults {
				hub.Fault(f)
			}
			c := testClient(t, hub, func(o *Options) {
				if tc.change != nil {
					tc.change(o)
				}
			})
			s, err := c.Pull(t.Context(), Request{Repo: "acme/tiny"})
			checkCache(t, c.CacheDir())
			if leaks := hub.Leaks(testToken); len(leaks) > 0 {
				t.Errorf("token sent to %+v", leaks)
			}
			if tc.want == nil {
				if err != nil {
					t.Fatal(err)
				}
				checkSnapshot(t, s, tiny())
				return
			}
			checkError(t, err, tc.want, tc.says)
		})
	}
}

func checkError(t testing.TB, err, want error, says string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
	var e *Error
	if !errors.As(err, &e) || e.Hint() == "" || e.On == "" {
		t.Errorf("error without hint or object: %#v", err)
	}
	if !strings.Contains(err.Error(), says) {
		t.Errorf("error %q does not say %q", err, says)
	}
	if strings.Contains(err.Error()+e.Hint(), testToken) || strings.Contains(err.Error(), "Signature") {
		t.Errorf("error shows a secret: %v", err)
	}
}

func TestMissing(t *testing.T) {
	hub, repo := testHub(t)
	repo.Branch("release", tiny())
	repo.Tag("v1.0", "release")
	hub.Rename("old/tiny", "acme/tiny")
	c := testClient(t, hub)
	ctx := context.Background()
	for _, tc := range []struct {
		req  Request
		want error
		hint string
	}{
		{Request{Repo: "acme/none"}, ErrRepoNotFound, "spelling"},
		{Request{Repo: "acme/tiny", Revision: "relaese"}, ErrRevisionNotFound, `"release"`},
		{Request{Repo: "acme/tiny", Revision: "zzzzzz"}, ErrRevisionNotFound, `"main", "release", "v1.0"`},
		{Request{Repo: "acme/tiny", Files: []string{"confg.json"}}, ErrFileNotFound, `"config.json"`},
		{Request{Repo: "acme/../x"}, ErrInvalid, "org/name"},
		{Request{Repo: "acme/tiny", Revision: "../x"}, ErrInvalid, "branch"},
	} {
		_, err := c.Pull(ctx, tc.req)
		checkError(t, err, tc.want, "")
		var e *Error
		if errors.As(err, &e) && !strings.Contains(e.Hint(), tc.hint) {
			t.Errorf("%+v: hint %q lacks %q", tc.req, e.Hint(), tc.hint)
		}
	}
	s, err := c.Pull(ctx, Request{Repo: "old/tiny", Revision: "v1.0"})
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, s, tiny())
	if !strings.Contains(s.Dir, "models--old--tiny") {
		t.Errorf("a renamed repo is kept as %s", s.Dir)
	}
	if _, err := os.Stat(filepath.Join(c.CacheDir(), "models--acme--tiny", ".no_exist", repo.Commit("main"), "confg.json")); err != nil {
		t.Errorf("no note of the missing file: %v", err)
	}
}
