package interop

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"quern/hfclient"
	"quern/hfclient/hubtest"
)

// uploaded are files of each kind: in git and in the large storage, empty, and below a folder.
func uploaded() map[string][]byte {
	return map[string][]byte{"README.md": []byte("---\nlicense: mit\ntags:\n- gguf\n---\n# x\n"), "tiny-Q8_0.gguf": noise(700_000, 8),
		"empty.txt": nil, "sub/notes.txt": []byte("notes"), "big.json": noise(2<<20, 4)}
}

func sums(files map[string][]byte) map[string]string {
	all := map[string]string{}
	for name, data := range files {
		sum := sha256.Sum256(data)
		all[name] = hex.EncodeToString(sum[:])
	}
	return all
}

// What we upload Python downloads, whole or in parts.
func TestUploadOurs(t *testing.T) {
	for _, part := range []int64{0, 100_000} {
		hub := hubtest.New()
		t.Cleanup(hub.Close)
		hub.PartSize = part
		hub.Writer(token, "acme")
		p := newPython(t, hub)
		up := hfclient.Upload{Repo: "acme/ours", Message: "from quern"}
		want := sums(uploaded())
		for name, data := range uploaded() {
			up.Files = append(up.Files, hfclient.NewFile{Path: name, Data: data, Size: int64(len(data)), SHA256: want[name]})
		}
		if _, err := p.client(hub).Upload(t.Context(), up); err != nil {
			t.Fatal(err)
		}
		var got map[string]string
		p.ask(&got, append([]string{"files", "acme/ours", "main"}, slices.Sorted(maps.Keys(want))...)...)
		if !maps.Equal(got, want) {
			t.Errorf("parts of %d: Python reads %v, want %v", part, got, want)
		}
	}
}

// The fake takes what Python's own client uploads, whole or in parts, and we download it: its write side is no invention of ours.
// After it our upload of the same files finds nothing to send.
func TestUploadPython(t *testing.T) {
	for _, part := range []int64{0, 100_000} {
		hub := hubtest.New()
		t.Cleanup(hub.Close)
		hub.PartSize = part
		hub.Writer(token, "acme")
		p := newPython(t, hub)
		dir := t.TempDir()
		up := hfclient.Upload{Repo: "acme/theirs", Message: "from quern"}
		want := sums(uploaded())
		for name, data := range uploaded() {
			path := filepath.Join(dir, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data, 0o644); err != nil {
				t.Fatal(err)
			}
			up.Files = append(up.Files, hfclient.NewFile{Path: name, Local: path, Size: int64(len(data)), SHA256: want[name]})
		}
		var commit string
		p.ask(&commit, "upload", "acme/theirs", dir)
		done, err := p.client(hub).Upload(t.Context(), up)
		if err != nil || done.Commit != commit || done.Unchanged != len(want) || done.Sent != 0 || !done.Private || done.Created {
			t.Errorf("after Python's commit %s: %+v, %v", commit, done, err)
		}
		s, err := p.client(hub).Pull(t.Context(), hfclient.Request{Repo: "acme/theirs", All: true})
		if err != nil {
			t.Fatal(err)
		}
		for name, data := range uploaded() {
			if got, err := os.ReadFile(filepath.Join(s.Dir, name)); err != nil || string(got) != string(data) {
				t.Errorf("parts of %d: %s differs: %v", part, name, err)
			}
		}
	}
}
