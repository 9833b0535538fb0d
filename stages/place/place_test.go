package place

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A file is shared, a second time nothing is done, and another file under the name is replaced; a copy can be written to alone.
func TestShare(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "a"), filepath.Join(dir, "sub", "b")
	if err := os.WriteFile(from, []byte("data"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, want := range []Way{Linked, There} {
		way, err := Share(t.Context(), from, to)
		if err != nil || way != want {
			t.Errorf("%s, %v; want %s", way, err, want)
		}
	}
	if err := os.Remove(to); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "sub", ".b.part"), []byte("killed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if way, err := Share(t.Context(), from, to); err != nil || way != Linked {
		t.Errorf("replaced: %s, %v", way, err)
	}
	if left, _ := os.ReadDir(filepath.Join(dir, "sub")); len(left) != 1 {
		t.Errorf("left %v", left)
	}
	twin := filepath.Join(dir, "c")
	if way, err := Duplicate(from, twin); err != nil || way != Copied && way != Cloned {
		t.Errorf("%s, %v", way, err)
	}
	if err := os.WriteFile(twin, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(from); err != nil || string(b) != "data" {
		t.Errorf("the original is %q, %v", b, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := Share(ctx, from, to); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
