package hfclient_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"quern/hfclient"
	"quern/hfclient/hubtest"
)

// What is evicted is gone, unless another commit has the same data; what the set did not name stays, and an empty snapshot goes
// with the refs to it.
func TestEvict(t *testing.T) {
	hub := hubtest.New()
	defer hub.Close()
	first := fstest.MapFS{"config.json": {Data: []byte("{}")}, "model.safetensors": {Data: []byte("weights")}, "sub/x.json": {Data: []byte("1")}}
	repo := hub.Add("acme/tiny", first)
	dir := t.TempDir()
	c, err := hfclient.New(hfclient.Options{Endpoint: hub.URL(), CacheDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	a, err := c.Pull(ctx, hfclient.Request{Repo: "acme/tiny", All: true})
	if err != nil {
		t.Fatal(err)
	}
	second := fstest.MapFS{"config.json": {Data: []byte("{ }")}, "model.safetensors": first["model.safetensors"]}
	repo.Branch("other", second)
	b, err := c.Pull(ctx, hfclient.Request{Repo: "acme/tiny", Revision: "other", All: true})
	if err != nil {
		t.Fatal(err)
	}
	blobs := func() int {
		found, err := filepath.Glob(filepath.Join(dir, "models--acme--tiny", "blobs", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	if n := blobs(); n != 4 {
		t.Fatalf("%d blobs", n)
	}
	evict := func(s *hfclient.Snapshot, files ...string) {
		t.Helper()
		if err := c.Evict(hfclient.Cached{Repo: s.Repo, Commit: s.Commit, Files: files}); err != nil {
			t.Fatal(err)
		}
	}
	evict(a, "model.safetensors", "sub/x.json", "not-there.bin")
	if n := blobs(); n != 3 {
		t.Errorf("%d blobs, the shared one must stay", n)
	}
	if _, err := os.Stat(filepath.Join(b.Dir, "model.safetensors")); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(a.Dir, "config.json")); err != nil {
		t.Errorf("what was not named is gone: %v", err)
	}
	evict(a, "config.json")
	if _, err := os.Stat(a.Dir); !os.IsNotExist(err) {
		t.Errorf("an empty snapshot stays: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "models--acme--tiny", "refs", "main")); !os.IsNotExist(err) {
		t.Errorf("its ref stays: %v", err)
	}
	evict(b, "model.safetensors", "config.json")
	if n := blobs(); n != 0 {
		t.Errorf("%d blobs are left", n)
	}
	for _, bad := range []hfclient.Cached{{Repo: "acme/tiny", Commit: "main"}, {Repo: "../x", Commit: b.Commit}, {Repo: "acme/tiny", Commit: b.Commit, Files: []string{"../../x"}}} {
		if c.Evict(bad) == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}
