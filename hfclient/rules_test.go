package hfclient

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"quern/hfclient/hubtest"
)

func TestParseRef(t *testing.T) {
	for _, tc := range []struct{ in, repo, revision string }{
		{"Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B", "main"},
		{"gpt2", "gpt2", "main"},
		{"a/b@refs/pr/4", "a/b", "refs/pr/4"},
		{"a/b@v1.0", "a/b", "v1.0"},
		{"_a/b_", "_a/b_", "main"},
	} {
		repo, rev, err := ParseRef(tc.in)
		if err != nil || repo != tc.repo || rev != tc.revision {
			t.Errorf("%s: %s, %s, %v", tc.in, repo, rev, err)
		}
	}
	for _, bad := range []string{
		"", "a/b/c", "a--b/c", "a/b..c", "a/b.git", "/a", "a/", "a b", "-a", "a.", "a/b@", "a/b@../x", "a/b@/x", "a/b@x y",
		"a/b@x\\y", "a/b@x\x00", strings.Repeat("a", 97), "ü/b", "a/b@" + strings.Repeat("r", 256), "http://x/y", "a/..",
	} {
		_, _, err := ParseRef(bad)
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestHostileNames(t *testing.T) {
	hostile := []string{
		"../evil", "a/../../evil", "/etc/passwd", "C:\\evil", "c:evil", `\\server\share\evil`, `a\..\evil`, "", ".", "..", "a//b",
		"a/./b", "a/", "nul\x00", "line\nend", "bell\a", "\xff", strings.Repeat("a", 5000),
	}
	for _, name := range hostile {
		if cleanName(name) == nil {
			t.Errorf("%.40q is allowed", name)
		}
	}
	for _, name := range []string{"a", "a/b.json", "..a", "a..b", ".gitattributes", "日本/モデル.json", "a b", "a%2e", "-rf", "ab:c"} {
		if err := cleanName(name); err != nil {
			t.Error(err)
		}
	}
	for _, name := range hostile {
		hub, repo := testHub(t)
		repo.Put(name, []byte("x"))
		for _, paged := range []bool{false, true} {
			repo.NoList = paged
			c := testClient(t, hub)
			_, err := c.Pull(t.Context(), Request{Repo: "acme/tiny", All: true})
			if !errors.Is(err, ErrIntegrity) {
				t.Errorf("%.40q: %v", name, err)
			}
			if out, _ := filepath.Glob(filepath.Join(c.CacheDir(), "..", "*")); len(out) > 1 {
				t.Errorf("%.40q: left %v", name, out)
			}
		}
	}
}

func TestEnvironment(t *testing.T) {
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, "tok"), []byte(" hf_file\r\n\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		env  map[string]string
		want Options
	}{
		{"nothing", nil, Options{CacheDir: home + "/.cache/huggingface/hub"}},
		{"XDG", map[string]string{"XDG_CACHE_HOME": "/x"}, Options{CacheDir: "/x/huggingface/hub"}},
		{"home", map[string]string{"HF_HOME": "~/hf"}, Options{CacheDir: home + "/hf/hub"}},
		{"old name of the cache", map[string]string{"HUGGINGFACE_HUB_CACHE": "/old"}, Options{CacheDir: "/old"}},
		{"cache first", map[string]string{"HUGGINGFACE_HUB_CACHE": "/old", "HF_HUB_CACHE": "$D/new/${MISSING}", "D": "/d"}, Options{CacheDir: "/d/new/${MISSING}"}},
		{"endpoint", map[string]string{"HF_ENDPOINT": "https://m.example/hf//", "HF_HOME": "/h"}, Options{Endpoint: "https://m.example/hf", CacheDir: "/h/hub"}},
		{"tokens", map[string]string{"HF_TOKEN": " hf_a\n", "HUGGING_FACE_HUB_TOKEN": "hf_b", "HF_HOME": "/h"}, Options{CacheDir: "/h/hub", Token: Token{"hf_a", "HF_TOKEN"}}},
		{"second token", map[string]string{"HF_TOKEN": " ", "HUGGING_FACE_HUB_TOKEN": "hf\r\n_b", "HF_HOME": "/h"}, Options{CacheDir: "/h/hub", Token: Token{"hf_b", "HUGGING_FACE_HUB_TOKEN"}}},
		{"token file", map[string]string{"HF_TOKEN_PATH": "~/tok", "HF_HOME": "/h"}, Options{CacheDir: "/h/hub", Token: Token{"hf_file", home + "/tok"}}},
		{"offline", map[string]string{"HF_HUB_OFFLINE": "Yes", "HF_HOME": "/h"}, Options{CacheDir: "/h/hub", Offline: true}},
		{"offline by transformers", map[string]string{"TRANSFORMERS_OFFLINE": "1", "HF_HOME": "/h"}, Options{CacheDir: "/h/hub", Offline: true}},
		{"not offline", map[string]string{"HF_HUB_OFFLINE": "0", "HF_HOME": "/h"}, Options{CacheDir: "/h/hub"}},
		{"timeouts", map[string]string{"HF_HUB_ETAG_TIMEOUT": "3", "HF_HUB_DOWNLOAD_TIMEOUT": "0.5", "HF_HOME": "/h"},
			Options{CacheDir: "/h/hub", MetadataTimeout: 3 * time.Second, StallTimeout: time.Second / 2}},
		{"broken timeout", map[string]string{"HF_HUB_ETAG_TIMEOUT": "soon", "HF_HOME": "/h"}, Options{CacheDir: "/h/hub"}},
	} {
		got := FromEnvironment(func(k string) (string, bool) {
			if k == "HOME" {
				return home, true
			}
			v, ok := tc.env[k]
			return v, ok
		})
		if !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s: %+v, want %+v", tc.name, got, tc.want)
		}
	}
}

// The token goes to the endpoint's and the Hub's scheme, host and port, and to nobody else.
func TestTokenStays(t *testing.T) {
	c, err := New(Options{Endpoint: "https://mirror.example/hf", CacheDir: t.TempDir(), Token: Token{testToken, "HF_TOKEN"}})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"https://mirror.example/hf/api":     true,
		"https://mirror.example:443/other":  true,
		"https://MIRROR.example/x":          true,
		"https://huggingface.co/x":          true,
		"http://huggingface.co/x":           false,
		"https://huggingface.co:8443/x":     false,
		"https://cdn-lfs.huggingface.co/x":  false,
		"https://huggingface.co.evil.com/x": false,
		"https://mirror.example:80/x":       false,
		"https://x.mirror.example/x":        false,
		"https://evil.com/huggingface.co":   false,
		"https://huggingface.co@evil.com/x": false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		var seen string
		layer := &bearer{token: testToken, allowed: c.trusted, next: transport(func(r *http.Request) (*http.Response, error) {
			seen = r.Header.Get("Authorization")
			return nil, errStalled
		})}
		_, _ = layer.RoundTrip(&http.Request{URL: u, Header: http.Header{"Authorization": {"Bearer left over"}}})
		if (seen == "Bearer "+testToken) != want || !want && seen != "" {
			t.Errorf("%s was sent %q", address, seen)
		}
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A log at debug level names every request and shows neither token nor signature; nor does printing the options.
func TestLogIsRedacted(t *testing.T) {
	hub, _ := testHub(t)
	hub.Fault(hubtest.Fault{Path: shard1, Nth: 2, Do: hubtest.Status(503)})
	hub.Fault(hubtest.Fault{Path: shard2, Do: hubtest.Cut(10)})
	var log bytes.Buffer
	var o Options
	c := testClient(t, hub, func(opts *Options) {
		opts.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		o = *opts
	})
	if _, err := c.Pull(t.Context(), Request{Repo: "acme/tiny"}); err != nil {
		t.Fatal(err)
	}
	text := log.String() + fmt.Sprintf("%v %+v %#v", o, o, o)
	for _, secret := range []string{testToken, "X-Signature", "X-Expires"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log shows %s", secret)
		}
	}
	for _, want := range []string{"revision/main", "/store/acme/tiny/", `"status":503`, `"msg":"retry"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %s", want)
		}
	}
}

func TestAskedWait(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, tc := range []struct {
		name, value string
		want        time.Duration
		ok          bool
	}{
		{"Retry-After", "7", 7 * time.Second, true},
		{"Retry-After", "0", 0, true},
		{"Retry-After", "99999999999999", maxWait, true},
		{"Retry-After", "999999", maxWait, true},
		{"Retry-After", "-1", 0, false},
		{"Retry-After", "soon", 0, false},
		{"Retry-After", "Fri, 02 Jan 2026 03:04:15 GMT", 10 * time.Second, true},
		{"Retry-After", "Fri, 02 Jan 2026 03:00:00 GMT", 0, true},
		{"RateLimit", `"resolvers";r=0;t=42`, 42 * time.Second, true},
		{"RateLimit", `"resolvers";r=0`, 0, false},
	} {
		got, ok := askedWait(http.Header{http.CanonicalHeaderKey(tc.name): {tc.value}}, now)
		if got != tc.want || ok != tc.ok {
			t.Errorf("%s: %s: %v, %v", tc.name, tc.value, got, ok)
		}
	}
	for try := 1; try < 10; try++ {
		if d := backoff(time.Second, try); d < time.Second/2 || d > 8*time.Second {
			t.Errorf("try %d waits %v", try, d)
		}
	}
}

// A limited download takes at least the time that the limit implies: the waits are added up, not measured.
func TestRateLimit(t *testing.T) {
	l := &rateLimit{perSecond: 1 << 40}
	for range 10 {
		if err := l.wait(t.Context(), 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	if ahead := time.Until(l.due); ahead > time.Second {
		t.Errorf("due in %v", ahead)
	}
	l = &rateLimit{perSecond: 1000}
	start := time.Now()
	l.due = start
	_ = l.wait(t.Context(), 500)
	if got := l.due.Sub(start); got < 500*time.Millisecond {
		t.Errorf("500 bytes at 1000 a second are due after %v", got)
	}
	if n := len(l.chunk(make([]byte, bufferSize))); n != 1024 {
		t.Errorf("chunk of %d", n)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"main", "release", "v1.0", "v1.1", "refs/pr/1"}
	for want, first := range map[string]string{"mian": "main", "relese": "release", "v1.2": "v1.0", "MAIN": "main"} {
		if got := nearest(want, names); len(got) == 0 || got[0] != first {
			t.Errorf("%s: %v", want, got)
		}
	}
	if got := nearest("something else", names); got != nil {
		t.Errorf("%v", got)
	}
}

// choice is what the rules pick from files that are only names; an index is given by its shards.
func TestChoose(t *testing.T) {
	index := func(names ...string) []byte {
		s := `{"metadata":{},"weight_map":{`
		for i, n := range names {
			s += fmt.Sprintf(`"t%d":%q,`, i, n)
		}
		return []byte(strings.TrimSuffix(s, ",") + "}}")
	}
	for _, tc := range []struct {
		name   string
		files  map[string][]byte
		want   Want
		format Format
		picked string
		err    error
		says   string
	}{
		{name: "an index decides", files: map[string][]byte{"model.safetensors.index.json": index("a.safetensors", "b.safetensors"), "a.safetensors": nil, "b.safetensors": nil, "model.safetensors": nil, "c.safetensors": nil},
			format: Safetensors, picked: "a.safetensors b.safetensors"},
		{name: "one file", files: map[string][]byte{"model.safetensors": nil, "consolidated.safetensors": nil, "params.json": nil, "pytorch_model.bin": nil}, format: Safetensors, picked: "model.safetensors"},
		{name: "shards without an index", files: map[string][]byte{"model-00001-of-00002.safetensors": nil, "model-00002-of-00002.safetensors": nil}, format: Safetensors, picked: "model-00001-of-00002.safetensors model-00002-of-00002.safetensors"},
		{name: "half the shards", files: map[string][]byte{"model-00001-of-00002.safetensors": nil}, err: ErrNoWeights, says: "model-00001-of-00002.safetensors"},
		{name: "consolidated", files: map[string][]byte{"consolidated.safetensors": nil, "params.json": nil}, format: Consolidated, picked: "consolidated.safetensors"},
		{name: "consolidated without params", files: map[string][]byte{"consolidated.safetensors": nil}, err: ErrNoWeights},
		{name: "adapter", files: map[string][]byte{"adapter_model.safetensors": nil, "adapter_config.json": nil}, format: Adapter, picked: "adapter_model.safetensors"},
		{name: "PyTorch not asked for", files: map[string][]byte{"pytorch_model.bin": nil}, err: ErrNoWeights, says: "PyTorch"},
		{name: "consolidated asked for", files: map[string][]byte{"consolidated.safetensors": nil, "params.json": nil, "model.safetensors": nil}, want: Want{Mistral: true}, format: Consolidated, picked: "consolidated.safetensors"},
		{name: "PyTorch asked for", files: map[string][]byte{"pytorch_model.bin": nil}, want: Want{Pickle: true}, format: Pickle, picked: "pytorch_model.bin"},
		{name: "PyTorch index", files: map[string][]byte{"pytorch_model.bin.index.json": index("x.bin"), "x.bin": nil}, want: Want{Pickle: true}, format: Pickle, picked: "x.bin"},
		{name: "pth", files: map[string][]byte{"consolidated.00.pth": nil, "consolidated.01.pth": nil, "params.json": nil}, want: Want{Pickle: true}, format: Pickle, picked: "consolidated.00.pth consolidated.01.pth"},
		{name: "safetensors before PyTorch", files: map[string][]byte{"model.safetensors": nil, "pytorch_model.bin": nil}, want: Want{Pickle: true}, format: Safetensors, picked: "model.safetensors"},
		{name: "GGUF", files: map[string][]byte{"x-Q4_K_M.gguf": nil}, err: ErrNoWeights, says: "GGUF"},
		{name: "subfolder", files: map[string][]byte{"unet/model.safetensors": nil}, err: ErrNoWeights, says: "other names"},
		{name: "nothing", files: map[string][]byte{"README.md": nil}, err: ErrNoWeights, says: "1 files"},
		{name: "index of what is not there", files: map[string][]byte{"model.safetensors.index.json": index("a.safetensors")}, err: ErrIntegrity, says: "a.safetensors"},
		{name: "index that leaves the folder", files: map[string][]byte{"model.safetensors.index.json": index("../a")}, err: ErrIntegrity, says: "../a"},
		{name: "empty index", files: map[string][]byte{"model.safetensors.index.json": []byte("{}")}, err: ErrIntegrity, says: "weight_map"},
		{name: "index that is no JSON", files: map[string][]byte{"model.safetensors.index.json": []byte("x")}, err: ErrIntegrity},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := &Revision{Repo: "a/b", Commit: strings.Repeat("0", 40)}
			for name := range tc.files {
				r.Files = append(r.Files, File{Path: name, GitSHA1: strings.Repeat("1", 40)})
			}
			if err := checkFiles(r.Files); err != nil {
				t.Fatal(err)
			}
			c, err := Choose(r, tc.want, func(f File) ([]byte, error) { return tc.files[f.Path], nil })
			if tc.err != nil {
				checkError(t, err, tc.err, tc.says)
				return
			}
			var picked []string
			for _, f := range c.Weights {
				picked = append(picked, f.Path)
			}
			if err != nil || c.Format != tc.format || strings.Join(picked, " ") != tc.picked {
				t.Errorf("%v, %s, %v", err, c.Format, picked)
			}
		})
	}
}

func TestSideFiles(t *testing.T) {
	for name, want := range map[string]bool{
		"config.json": true, "tokenizer.model": true, "tokenizer.model.v3": true, "tokenizer.jsonl": true, "chat_template.jinja": true, "merges.txt": true,
		"README.md": true, "LICENSE": true, "LICENSE.txt": true, "qwen.tiktoken": true, "additional_chat_templates/tool.jinja": true,
		"1_Pooling/config.json": true, "2_Dense/model.safetensors": true,
		"modeling.py": false, "onnx/model.onnx": false, "optimizer.pt": false, "original/params.json": false, "training_args.bin": false, ".gitattributes": false,
		"NOTICE.md": false, "unet/config.json": false,
	} {
		if isSide(name) != want {
			t.Errorf("%s: %v", name, !want)
		}
	}
}

// A repo that is read through a mirror is listed and fetched through the mirror, whatever addresses it hands out.
func TestMirror(t *testing.T) {
	c, err := New(Options{Endpoint: "http://mirror.example:81/hf", CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"https://huggingface.co/api/models/a/b/tree/main?cursor=x%2F": "http://mirror.example:81/hf/api/models/a/b/tree/main?cursor=x%2F",
		"https://cdn.example/x": "https://cdn.example/x",
	} {
		u, _ := url.Parse(in)
		if got := c.mirrored(u).String(); got != want {
			t.Errorf("%s became %s", in, got)
		}
	}
	if got := c.fileAddress("a/b", "refs/pr/4", "x y/z#1.json"); got != "http://mirror.example:81/hf/a/b/resolve/refs%2Fpr%2F4/x%20y/z%231.json" {
		t.Error(got)
	}
	if _, err := New(Options{Endpoint: "mirror.example"}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

// Strange but lawful names reach the right file.
func TestStrangeNames(t *testing.T) {
	hub := hubtest.New()
	t.Cleanup(hub.Close)
	files := fstest.MapFS{"a b/ü#1?.json": {Data: []byte("one")}, "100%.txt": {Data: []byte("two")}, "日本.bin": {Data: []byte("three")}}
	hub.Add("acme/odd", files)
	s, err := testClient(t, hub).Pull(t.Context(), Request{Repo: "acme/odd", All: true})
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, s, files)
}
