package lock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

var (
	first  = Pin{Commit: "1111111111111111111111111111111111111111", Files: []File{{"b", 2, "sha256:b"}, {"a", 1, "sha256:a"}}}
	second = Pin{Commit: "2222222222222222222222222222222222222222", Files: []File{{"a", 1, "sha256:c"}}}
	folder = Pin{Files: []File{{"a", 1, "sha256:a"}}}
	edited = Pin{Files: []File{{"a", 1, "sha256:b"}}}
)

func open(t *testing.T, path string, m Mode) *Lock {
	t.Helper()
	l, err := Open(path, m)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// What is locked is followed, renewed when asked, and refused under --locked when it differs.
func TestModes(t *testing.T) {
	path := filepath.Join(t.TempDir(), Name)
	var drift *DriftError
	if _, err := Open(path, Locked); !errors.As(err, &drift) {
		t.Fatalf("a missing lock: %v", err)
	}
	l := open(t, path, Follow)
	for model, pin := range map[string]Pin{"org/m": first, "./f": folder} {
		if note, err := l.Check(model, pin); note != "" || err != nil {
			t.Fatal(note, err)
		}
	}
	if err := l.Write(); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)

	l = open(t, path, Locked)
	if l.Commit("org/m") != first.Commit {
		t.Errorf("commit %q", l.Commit("org/m"))
	}
	if _, err := l.Check("org/m", first); err != nil {
		t.Error(err)
	}
	for model, pin := range map[string]Pin{"org/m": second, "./f": edited, "org/new": first} {
		if _, err := l.Check(model, pin); !errors.As(err, &drift) || drift.Hint() == "" {
			t.Errorf("%s: %v", model, err)
		}
	}

	l = open(t, path, Follow)
	if _, err := l.Check("org/m", second); !errors.As(err, &drift) {
		t.Errorf("a locked commit that is not kept: %v", err)
	}
	if note, err := l.Check("./f", edited); note == "" || err != nil {
		t.Errorf("an edited folder: %q, %v", note, err)
	}
	if note, err := open(t, path, Update).Check("org/m", second); note == "" || err != nil {
		t.Errorf("an update: %q, %v", note, err)
	}
	if open(t, path, Update).Commit("org/m") != "" {
		t.Error("an update follows the locked commit")
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("the file changed without Write")
	}
	l = open(t, path, Follow)
	l.Keep([]string{"./f"})
	if err := l.Write(); err != nil || open(t, path, Follow).Commit("org/m") != "" {
		t.Errorf("a model that left the set stays locked: %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"version":1,"sources":{"m":{"files":[{"name":"a"}]}}}`))
	f.Add([]byte(`{"version":1,"sources":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), Name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		l, err := Open(path, Follow)
		if err != nil {
			return
		}
		if _, err := l.Check("new", folder); err != nil && !errors.As(err, new(*DriftError)) {
			t.Fatal(err)
		}
	})
}
