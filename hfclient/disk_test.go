package hfclient

import (
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"quern/hfclient/hubtest"
)

func writeCertificate(t *testing.T, path string, der []byte) {
	t.Helper()
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// A disk that is too small is noticed before the first byte of weights.
func TestSpaceFirst(t *testing.T) {
	hub, _ := testHub(t)
	c := testClient(t, hub)
	c.cache.free = func(string) (int64, error) { return 999_999, nil }
	_, err := c.Pull(t.Context(), Request{Repo: "acme/tiny"})
	checkError(t, err, ErrNoSpace, "999999")
	if n := hub.Served(shard1); n != 0 {
		t.Errorf("%d bytes were served", n)
	}
}

// A disk that fills while it is written keeps what is proven, and the next run continues.
func TestDiskFull(t *testing.T) {
	hub, _ := testHub(t)
	c := testClient(t, hub)
	var left atomic.Int64
	left.Store(500_000)
	real := c.cache.write
	c.cache.write = func(f *os.File, p []byte, off int64) (int, error) {
		if left.Add(-int64(len(p))) < 0 {
			return 0, &fs.PathError{Op: "write", Path: f.Name(), Err: syscall.ENOSPC}
		}
		return real(f, p, off)
	}
	_, err := c.Pull(t.Context(), Request{Repo: "acme/tiny", Files: []string{shard1}})
	checkError(t, err, ErrNoSpace, shard1)
	checkCache(t, c.CacheDir())
	c.cache.write = real
	hub.Forget()
	s, err := c.Pull(t.Context(), Request{Repo: "acme/tiny", Files: []string{shard1}})
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, s, tiny())
	if got := hub.Served(shard1); got > 300_000 {
		t.Errorf("%d bytes were fetched again", got)
	}
}

// tmpfs mounts a small disk, where that is allowed.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if os.Getuid() != 0 {
		t.Skip("mounting a small disk needs root")
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no small disk can be mounted: %v %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", dir).Run() })
	return dir
}

func TestRealDiskFull(t *testing.T) {
	hub, _ := testHub(t)
	disk := tmpfs(t, "900k")
	c := testClient(t, hub, func(o *Options) { o.CacheDir = filepath.Join(disk, "hub") })
	_, err := c.Pull(t.Context(), Request{Repo: "acme/tiny"})
	checkError(t, err, ErrNoSpace, "bytes are to be fetched")
	c.cache.free = func(string) (int64, error) { return 1 << 40, nil }
	_, err = c.Pull(t.Context(), Request{Repo: "acme/tiny"})
	checkError(t, err, ErrNoSpace, "full")
	checkCache(t, c.CacheDir())
}

// A cache that cannot be written serves what it holds, and says so when it lacks something.
func TestReadOnlyCache(t *testing.T) {
	hub, _ := testHub(t)
	disk := tmpfs(t, "10m")
	c := testClient(t, hub, func(o *Options) { o.CacheDir = filepath.Join(disk, "hub") })
	if _, err := c.Pull(t.Context(), Request{Repo: "acme/tiny"}); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-o", "remount,ro", disk).CombinedOutput(); err != nil {
		t.Skipf("the disk cannot be made read-only: %v %s", err, out)
	}
	s, err := c.Pull(t.Context(), Request{Repo: "acme/tiny"})
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, s, tiny())
	hub.Add("acme/other", tiny())
	_, err = c.Pull(t.Context(), Request{Repo: "acme/other"})
	checkError(t, err, ErrCache, "read-only")
	if n := hub.Served(shard1); n != 700_001 {
		t.Errorf("%d bytes were served", n)
	}
}

// Where no links can be made, snapshots hold copies, and they are believed the second time.
func TestNoSymlinks(t *testing.T) {
	hub, _ := testHub(t)
	c := testClient(t, hub)
	c.cache.symlink = func(string, string) error { return syscall.EPERM }
	s, err := c.Pull(t.Context(), Request{Repo: "acme/tiny"})
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, s, tiny())
	hub.Forget()
	if _, err = c.Pull(t.Context(), Request{Repo: "acme/tiny"}); err != nil || hub.Served(shard1) != 0 {
		t.Errorf("second pull: %v, %d bytes served", err, hub.Served(shard1))
	}
}

// A blob that another program left wrong is noticed by its digest and fetched anew; offline it is refused.
func TestForeignBlob(t *testing.T) {
	hub, _ := testHub(t)
	c := testClient(t, hub)
	s, err := c.Pull(t.Context(), Request{Repo: "acme/tiny"})
	if err != nil {
		t.Fatal(err)
	}
	spoil := func() {
		blob, err := filepath.EvalSymlinks(filepath.Join(s.Dir, shard2))
		if err != nil {
			t.Fatal(err)
		}
		data := tiny()[shard2].Data
		data[77] ^= 1
		if err := os.WriteFile(blob, data, 0o644); err != nil {
			t.Fatal(err)
		}
		// Another program's clock: whatever the resolution of the disk's, the time differs.
		if err := os.Chtimes(blob, time.Time{}, time.Unix(1_700_000_000, 0)); err != nil {
			t.Fatal(err)
		}
	}
	spoil()
	c.o.Offline = true
	_, err = c.Pull(t.Context(), Request{Repo: "acme/tiny"})
	checkError(t, err, ErrIntegrity, shard2)
	c.o.Offline = false
	hub.Forget()
	if s, err = c.Pull(t.Context(), Request{Repo: "acme/tiny"}); err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, s, tiny())
	if hub.Served(shard2) != 300_000 || hub.Served(shard1) != 0 {
		t.Errorf("served %d and %d bytes", hub.Served(shard1), hub.Served(shard2))
	}
}

// A progress file that lies, or a partial file that was altered, costs a second download at most.
func TestSpoiledPartial(t *testing.T) {
	for _, tc := range []struct {
		name  string
		spoil func(t *testing.T, blob string)
	}{
		{"no progress file", func(t *testing.T, blob string) { remove(t, progressPath(blob)) }},
		{"no data", func(t *testing.T, blob string) { remove(t, partialPath(blob)) }},
		{"empty progress file", func(t *testing.T, blob string) { write(t, progressPath(blob), "") }},
		{"too much done", func(t *testing.T, blob string) {
			write(t, progressPath(blob), `{"kind":1,"etag":"`+filepath.Base(blob)+`","size":700001,"segment":700001,"done":[700002]}`)
		}},
		{"huge number of segments", func(t *testing.T, blob string) {
			write(t, progressPath(blob), `{"kind":1,"etag":"`+filepath.Base(blob)+`","size":700001,"segment":1,"done":[1]}`)
		}},
		{"claims all", func(t *testing.T, blob string) {
			write(t, progressPath(blob), `{"kind":1,"etag":"`+filepath.Base(blob)+`","size":700001,"segment":700001,"done":[700001]}`)
		}},
		{"shorter data", func(t *testing.T, blob string) {
			if err := os.Truncate(partialPath(blob), 1000); err != nil {
				t.Fatal(err)
			}
		}},
		{"other data", func(t *testing.T, blob string) {
			write(t, partialPath(blob), strings.Repeat("x", 700_001))
			data, err := os.ReadFile(progressPath(blob))
			if err != nil {
				t.Fatal(err)
			}
			write(t, progressPath(blob), strings.ReplaceAll(string(data), `"hashed":`, `"hashed":0,"was":`))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			hub, _ := testHub(t)
			hub.Fault(hubtest.Fault{Path: shard1, Nth: 3, Do: hubtest.Status(404), Times: -1})
			c := testClient(t, hub, func(o *Options) { o.Connections = 1 })
			req := Request{Repo: "acme/tiny", Files: []string{shard1}}
			_, err := c.Pull(t.Context(), req)
			checkError(t, err, ErrUnavailable, "404")
			m, err := filepath.Glob(filepath.Join(c.CacheDir(), "*", "blobs", "*.quern.progress"))
			if err != nil || len(m) != 1 {
				t.Fatal(m, err)
			}
			tc.spoil(t, strings.TrimSuffix(m[0], ".quern.progress"))
			hub.Forget()
			s, err := c.Pull(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			checkSnapshot(t, s, tiny())
			checkCache(t, c.CacheDir())
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Only the lock and the ref of a download that was cut off stay behind; nothing has a final name.
func TestCutOffLeavesNoNames(t *testing.T) {
	hub, _ := testHub(t)
	hub.Fault(hubtest.Fault{Path: shard1, Nth: 4, Do: hubtest.Status(404), Times: -1})
	c := testClient(t, hub)
	if _, err := c.Pull(t.Context(), Request{Repo: "acme/tiny"}); err == nil {
		t.Fatal("a pull without its weights succeeded")
	}
	if _, err := os.Stat(filepath.Join(c.CacheDir(), "models--acme--tiny", "refs", "main")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the ref moved before the files were whole: %v", err)
	}
	checkCache(t, c.CacheDir())
}

// A run that ended between any two steps of giving names is completed by the next one, without a byte of weights.
func TestEndedBetweenSteps(t *testing.T) {
	for _, tc := range []struct {
		name string
		undo func(t *testing.T, c *Client, s *Snapshot)
	}{
		{"before the pointer", func(t *testing.T, _ *Client, s *Snapshot) { remove(t, filepath.Join(s.Dir, shard1)) }},
		{"before the proof", func(t *testing.T, c *Client, s *Snapshot) {
			remove(t, c.cache.own(s.Repo, "proofs", s.Weights[0].ETag()))
		}},
		{"before the ref", func(t *testing.T, c *Client, s *Snapshot) {
			remove(t, filepath.Join(c.cache.folder(s.Repo), "refs", "main"))
		}},
		{"before the progress file went", func(t *testing.T, c *Client, s *Snapshot) {
			write(t, progressPath(c.cache.blob(s.Repo, s.Weights[0].ETag())), `{"kind":1}`)
		}},
		{"a pointer to nowhere", func(t *testing.T, _ *Client, s *Snapshot) {
			remove(t, filepath.Join(s.Dir, shard1))
			if err := os.Symlink("../../blobs/none", filepath.Join(s.Dir, shard1)); err != nil {
				t.Fatal(err)
			}
		}},
		{"a pointer to another blob", func(t *testing.T, _ *Client, s *Snapshot) {
			remove(t, filepath.Join(s.Dir, shard1))
			if err := os.Symlink("../../blobs/"+s.Weights[1].ETag(), filepath.Join(s.Dir, shard1)); err != nil {
				t.Fatal(err)
			}
		}},
		{"lock files gone", func(t *testing.T, c *Client, _ *Snapshot) {
			if err := os.RemoveAll(filepath.Join(c.CacheDir(), ".locks")); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			hub, _ := testHub(t)
			c := testClient(t, hub)
			s, err := c.Pull(t.Context(), Request{Repo: "acme/tiny"})
			if err != nil {
				t.Fatal(err)
			}
			tc.undo(t, c, s)
			hub.Forget()
			if s, err = c.Pull(t.Context(), Request{Repo: "acme/tiny"}); err != nil {
				t.Fatal(err)
			}
			checkSnapshot(t, s, tiny())
			if s.Fetched != 0 || len(hub.Requests()) != 1 {
				t.Errorf("fetched %d bytes in %d requests", s.Fetched, len(hub.Requests()))
			}
			if ref, err := os.ReadFile(filepath.Join(c.cache.folder(s.Repo), "refs", "main")); err != nil || string(ref) != s.Commit {
				t.Errorf("ref %q, %v", ref, err)
			}
		})
	}
}
