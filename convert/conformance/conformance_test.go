package conformance

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"testing"
)

// tree is the recorded cases that this package's tests use: every element type, several shards, a base model, an adapter.
func tree(t *testing.T) fs.FS {
	t.Helper()
	tree, err := OpenBundle("testdata/cases.tar.zst")
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// folderDigest is the SHA-256 of every file's name, size and contents, in order of the names.
func folderDigest(t *testing.T, folder fs.FS) string {
	t.Helper()
	h := sha256.New()
	err := fs.WalkDir(folder, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(folder, name)
		fmt.Fprintf(h, "%s\x00%d\x00", name, len(data))
		h.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// testdata/digests.json was made by the recording tool from the same descriptions.
func TestCheckpointDigests(t *testing.T) {
	tree, want := tree(t), map[string]string{}
	data, err := os.ReadFile("testdata/digests.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	for name, digest := range want {
		c, err := OpenCase(tree, name)
		if err != nil {
			t.Fatal(err)
		}
		made, err := c.Checkpoint()
		if err != nil {
			t.Fatal(err)
		}
		if got := folderDigest(t, made); got != digest {
			t.Errorf("%s: checkpoint is %s, the recording tool made %s", name, got, digest)
		}
	}
	t.Logf("%d checkpoints, byte for byte", len(want))
}
