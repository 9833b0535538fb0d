// Package interop holds our client, the fake Hub and Python's huggingface_hub against one another: the same cache,
// the same locks, the same answers. It runs where QUERN_INTEROP_PYTHON names a Python with huggingface_hub 0.36.
package interop

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"quern/hfclient"
	"quern/hfclient/hubtest"
)

const (
	pythonVar = "QUERN_INTEROP_PYTHON"
	token     = "hf_interopinteropinterop"
	weights   = "model.safetensors"
)

// python is a huggingface_hub with a cache and a Hub.
type python struct {
	t    *testing.T
	exe  string
	home string
	env  []string
}

func newPython(t *testing.T, hub *hubtest.Hub) *python {
	t.Helper()
	exe := os.Getenv(pythonVar)
	if exe == "" {
		t.Skipf("not run: %s does not name a Python with huggingface_hub 0.36", pythonVar)
	}
	p := &python{t: t, exe: exe, home: t.TempDir()}
	p.env = append(os.Environ(), "HF_ENDPOINT="+hub.URL(), "HF_HOME="+p.home, "HF_TOKEN="+token, "HF_HUB_DISABLE_TELEMETRY=1",
		"HF_HUB_DISABLE_PROGRESS_BARS=1", "HF_HUB_DOWNLOAD_TIMEOUT=20", "PYTHONWARNINGS=error::UserWarning")
	var version string
	p.ask(&version, "version")
	if !strings.HasPrefix(version, "0.36.") {
		t.Skipf("not run: huggingface_hub is %s, not 0.36", version)
	}
	return p
}

// command runs a subcommand of client.py.
func (p *python) command(args ...string) *exec.Cmd {
	cmd := exec.Command(p.exe, append([]string{"testdata/client.py"}, args...)...)
	cmd.Env = p.env
	return cmd
}

// ask decodes the answer of a subcommand.
func (p *python) ask(answer any, args ...string) {
	p.t.Helper()
	out, err := p.command(args...).Output()
	if err != nil {
		stderr := ""
		if e, ok := err.(*exec.ExitError); ok {
			stderr = string(e.Stderr)
		}
		p.t.Fatalf("python %v: %v\n%s", args, err, stderr)
	}
	if err := json.Unmarshal(out, answer); err != nil {
		p.t.Fatalf("python %v answered %q: %v", args, out, err)
	}
}

// offline makes Python use its cache alone.
func (p *python) offline() { p.env = append(p.env, "HF_HUB_OFFLINE=1") }

// client is ours, over the same cache.
func (p *python) client(hub *hubtest.Hub) *hfclient.Client {
	p.t.Helper()
	c, err := hfclient.New(hfclient.Options{Endpoint: hub.URL(), CacheDir: filepath.Join(p.home, "hub"),
		Token: hfclient.Token{Value: token, Source: "HF_TOKEN"}})
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func tiny() fstest.MapFS {
	return fstest.MapFS{
		"config.json":           {Data: []byte(`{"model_type":"llama"}`)},
		"empty.txt":             {Data: nil},
		"tokenizer.json":        {Data: noise(70_000, 3)},
		"big.json":              {Data: noise(2<<20, 4)},
		weights:                 {Data: noise(3_000_000, 5)},
		"sub/dir/notes.txt":     {Data: []byte("notes")},
		"chat template.txt":     {Data: []byte("a name with a space")},
		"1_Pooling/config.json": {Data: []byte("{}")},
	}
}

func digests(files fstest.MapFS) map[string]string {
	all := map[string]string{}
	for name, f := range files {
		sum := sha256.Sum256(f.Data)
		all[name] = hex.EncodeToString(sum[:])
	}
	return all
}

func newHub(t *testing.T) (*hubtest.Hub, *hubtest.Repo) {
	hub := hubtest.New()
	t.Cleanup(hub.Close)
	return hub, hub.Add("acme/tiny", tiny())
}

type scan struct {
	Warnings []string
	Repos    map[string]struct {
		Files int
		Refs  []string
	}
}

// A cache that we filled loads offline in Python and passes its scan.
func TestOursInPython(t *testing.T) {
	hub, repo := newHub(t)
	p := newPython(t, hub)
	repo.Branch("refs/pr/1", tiny())
	repo.Tag("v1", "refs/pr/1")
	c := p.client(hub)
	ctx := context.Background()

	// A plan alone, of which only headers and small files were read, is no corrupted repo.
	hub.Add("acme/planned", tiny())
	rev, err := c.Resolve(ctx, "acme/planned", "main")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.FS(ctx, rev).Warm(ctx, rev.Files); err != nil {
		t.Fatal(err)
	}
	dirs := map[string]string{}
	for _, revision := range []string{"main", "refs/pr/1", "v1"} {
		s, err := c.Pull(ctx, hfclient.Request{Repo: "acme/tiny", Revision: revision, All: true})
		if err != nil {
			t.Fatal(err)
		}
		dirs[revision] = s.Dir
	}
	// What we know to be missing Python knows, too.
	if _, err := c.Pull(ctx, hfclient.Request{Repo: "acme/tiny", Files: []string{"absent.json"}}); err == nil {
		t.Fatal("an absent file was pulled")
	}

	hub.Forget()
	p.offline()
	want := digests(tiny())
	for revision, dir := range dirs {
		var got string
		p.ask(&got, "snapshot", "acme/tiny", revision)
		if got != dir {
			t.Errorf("%s: Python's snapshot is %s, ours %s", revision, got, dir)
		}
		var sums map[string]string
		p.ask(&sums, append([]string{"files", "acme/tiny", revision}, slices.Sorted(maps.Keys(want))...)...)
		if !maps.Equal(sums, want) {
			t.Errorf("%s: Python reads %v, want %v", revision, sums, want)
		}
	}
	var s scan
	p.ask(&s, "scan")
	if len(s.Warnings) > 0 || s.Repos["acme/tiny"].Files != len(tiny()) ||
		fmt.Sprint(s.Repos["acme/tiny"].Refs) != "[main refs/pr/1 v1]" {
		t.Errorf("scan: %+v", s)
	}
	if _, ok := s.Repos["acme/planned"]; !ok {
		t.Errorf("scan lacks the planned repo: %+v", s)
	}
	if n := len(hub.Requests()); n > 0 {
		t.Errorf("%d requests while offline", n)
	}
}

// A cache that Python filled makes our pull fetch nothing but the listing.
func TestPythonInOurs(t *testing.T) {
	hub, _ := newHub(t)
	p := newPython(t, hub)
	var dir string
	p.ask(&dir, "snapshot", "acme/tiny", "main")
	hub.Forget()
	c := p.client(hub)
	s, err := c.Pull(context.Background(), hfclient.Request{Repo: "acme/tiny"})
	if err != nil {
		t.Fatal(err)
	}
	if s.Dir != dir || s.Fetched != 0 || hub.Served(weights) != 0 || len(hub.Requests()) != 1 {
		t.Errorf("fetched %d bytes with %d requests, into %s, Python's is %s", s.Fetched, len(hub.Requests()), s.Dir, dir)
	}
	// Half a cache: only what is missing comes.
	q := newPython(t, hub)
	q.ask(&dir, "snapshot", "acme/tiny", "main", "*.json")
	hub.Forget()
	if _, err = q.client(hub).Pull(context.Background(), hfclient.Request{Repo: "acme/tiny"}); err != nil {
		t.Fatal(err)
	}
	if hub.Served(weights) != 3_000_000 || hub.Served("tokenizer.json") != 0 {
		t.Errorf("served %d bytes of weights and %d of the tokenizer", hub.Served(weights), hub.Served("tokenizer.json"))
	}
}

// Python takes the fake for a Hub, in what works and in what fails.
func TestPythonAtHubtest(t *testing.T) {
	hub, repo := newHub(t)
	p := newPython(t, hub)
	hub.PageSize = 3
	repo.Branch("dev", tiny())
	repo.Tag("v1", "dev")
	hub.Add("acme/gated", tiny()).Gated = true
	hub.Add("acme/private", tiny()).Private = true
	hub.Add("acme/closed", tiny()).Disabled = true
	hub.Rename("acme/old", "acme/tiny")
	want := digests(tiny())

	var dir string
	p.ask(&dir, "snapshot", "acme/tiny", "main")
	if filepath.Base(dir) != repo.Commit("main") {
		t.Errorf("snapshot %s", dir)
	}
	var sums map[string]string
	p.ask(&sums, append([]string{"files", "acme/old", "v1"}, slices.Sorted(maps.Keys(want))...)...)
	if !maps.Equal(sums, want) {
		t.Errorf("files %v", sums)
	}
	var tree map[string][2]any
	p.ask(&tree, "tree", "acme/tiny", "main")
	if len(tree) != len(want)+3 || fmt.Sprint(tree[weights]) != fmt.Sprint([]any{3e6, want[weights]}) {
		t.Errorf("tree %v", tree)
	}
	var refs map[string][]string
	p.ask(&refs, "refs", "acme/tiny")
	if fmt.Sprint(refs) != "map[branches:[dev main] tags:[v1]]" {
		t.Errorf("refs %v", refs)
	}
	for _, tc := range [][4]string{
		{"acme/gated", "main", "config.json", "GatedRepoError"},
		{"acme/gated", "main", weights, "GatedRepoError"},
		{"acme/gated", "main", "", ""},
		{"acme/private", "main", "", "RepositoryNotFoundError"},
		{"acme/absent", "main", "", "RepositoryNotFoundError"},
		{"acme/closed", "main", "", "DisabledRepoError"},
		{"acme/tiny", "absent", "", "RevisionNotFoundError"},
		{"acme/tiny", "main", "absent.json", "EntryNotFoundError"},
	} {
		var got string
		p.ask(&got, "failure", tc[0], tc[1], tc[2])
		if got != tc[3] && !(tc[3] == "EntryNotFoundError" && got == "RemoteEntryNotFoundError") {
			t.Errorf("%v: Python says %q", tc, got)
		}
	}
	if leaks := hub.Leaks(token); len(leaks) > 0 {
		t.Errorf("token sent to %+v", leaks)
	}
}

// Both clients wait for each other's lock, and both at once fetch every byte once.
func TestLocks(t *testing.T) {
	hub, repo := newHub(t)
	p := newPython(t, hub)
	digest := digests(tiny())[weights]
	lock := filepath.Join(p.home, "hub", ".locks", "models--acme--tiny", digest+".lock")
	if err := os.MkdirAll(filepath.Dir(lock), 0o755); err != nil {
		t.Fatal(err)
	}
	holder := p.command("hold", lock)
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "\"held\"\n" {
		t.Fatal(line, err)
	}
	waited := false
	_, err = p.client(hub).Pull(context.Background(), hfclient.Request{Repo: "acme/tiny", Files: []string{weights}, Progress: func(pr hfclient.Progress) {
		if pr.State == hfclient.Waiting && !waited {
			waited = true
			if n := hub.Served(weights); n != 0 {
				t.Errorf("%d bytes were fetched under Python's lock", n)
			}
			_ = in.Close()
		}
	}})
	if err != nil || !waited {
		t.Errorf("waited %v, %v", waited, err)
	}
	_ = holder.Wait()

	// At once, on a new commit with other weights.
	files := tiny()
	files[weights] = &fstest.MapFile{Data: noise(2_000_000, 77)}
	repo.Branch("main", files)
	hub.Forget()
	hub.Fault(hubtest.Fault{Path: weights, Do: hubtest.Drip(2_000_000), Times: -1})
	other := p.command("snapshot", "acme/tiny", "main")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	s, err := p.client(hub).Pull(context.Background(), hfclient.Request{Repo: "acme/tiny", All: true})
	if err != nil {
		t.Error(err)
	}
	if err := other.Wait(); err != nil {
		t.Error(err)
	}
	if n := hub.Served(weights); n != 2_000_000 {
		t.Errorf("%d bytes of the weights were served", n)
	}
	p.offline()
	var sums map[string]string
	p.ask(&sums, "files", "acme/tiny", "main", weights)
	if sums[weights] != digests(files)[weights] || s.Commit != repo.Commit("main") {
		t.Errorf("%v, commit %s", sums, s.Commit)
	}
	var sc scan
	p.ask(&sc, "scan")
	if len(sc.Warnings) > 0 {
		t.Errorf("scan: %v", sc.Warnings)
	}
}
