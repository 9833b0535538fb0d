package hubtest

import (
	"go/build"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

func small() fstest.MapFS {
	return fstest.MapFS{"config.json": {Data: []byte(`{"a":1}`)}, "model.safetensors": {Data: []byte(strings.Repeat("w", 1000))}}
}

// ask makes one request without following redirects.
func ask(t *testing.T, method, address string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp, string(body)
}

// The answers have the headers that recorded exchanges with the Hub have.
func TestShapes(t *testing.T) {
	h := New()
	defer h.Close()
	commit := h.Add("a/b", small()).Commit("main")
	file := h.URL() + "/a/b/resolve/main/"

	resp, _ := ask(t, "HEAD", file+"model.safetensors")
	at := resp.Header.Get("Location")
	if resp.StatusCode != 302 || resp.Header.Get("X-Repo-Commit") != commit || resp.Header.Get("X-Linked-Size") != "1000" ||
		len(resp.Header.Get("X-Linked-Etag")) != 66 || resp.ContentLength == 1000 || !strings.HasPrefix(at, h.StorageURL()) {
		t.Errorf("large file: %d %v", resp.StatusCode, resp.Header)
	}
	resp, body := ask(t, "GET", at, "Range", "bytes=10-19")
	if resp.StatusCode != 206 || body != "wwwwwwwwww" || resp.Header.Get("Content-Range") != "bytes 10-19/1000" || len(resp.Header.Get("ETag")) != 66 {
		t.Errorf("range: %d %q %v", resp.StatusCode, body, resp.Header)
	}
	if resp, _ = ask(t, "GET", at, "Range", "bytes=1000-"); resp.StatusCode != 416 || resp.Header.Get("Content-Range") != "bytes */1000" {
		t.Errorf("range behind the end: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, _ = ask(t, "GET", strings.Replace(at, "Signature=s", "Signature=x", 1)); resp.StatusCode != 403 {
		t.Errorf("wrong signature: %d", resp.StatusCode)
	}
	resp, _ = ask(t, "GET", file+"config.json")
	at = resp.Header.Get("Location")
	if resp.StatusCode != 307 || !strings.HasPrefix(at, "/api/resolve-cache/models/a/b/"+commit) {
		t.Errorf("small file: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, body = ask(t, "GET", h.URL()+at); resp.StatusCode != 200 || body != `{"a":1}` || len(resp.Header.Get("ETag")) != 42 {
		t.Errorf("small file: %d %q %v", resp.StatusCode, body, resp.Header)
	}
	if resp, _ = ask(t, "GET", file+"absent"); resp.StatusCode != 404 || resp.Header.Get("X-Error-Code") != "EntryNotFound" {
		t.Errorf("missing file: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, _ = ask(t, "GET", h.URL()+"/api/models/a/b/revision/absent"); resp.Header.Get("X-Error-Code") != "RevisionNotFound" {
		t.Errorf("missing revision: %d %v", resp.StatusCode, resp.Header)
	}
	h.PageSize = 1
	resp, body = ask(t, "GET", h.URL()+"/api/models/a/b/tree/main?recursive=true")
	if !strings.Contains(resp.Header.Get("Link"), `rel="next"`) || strings.Count(body, `"path"`) != 1 {
		t.Errorf("page: %v %s", resp.Header, body)
	}
}

// Faults act on the requests that they name, and no others.
func TestFaultsCount(t *testing.T) {
	h := New()
	defer h.Close()
	h.Add("a/b", small())
	h.Fault(Fault{On: Main, Path: "config.json", Nth: 2, Times: 2, Do: Status(503)})
	var got []int
	for range 4 {
		resp, _ := ask(t, "GET", h.URL()+"/a/b/resolve/main/config.json")
		got = append(got, resp.StatusCode)
	}
	if got[0] != 307 || got[1] != 503 || got[2] != 503 || got[3] != 307 {
		t.Errorf("statuses %v", got)
	}
	if n := len(h.Requests()); n != 4 {
		t.Errorf("%d requests recorded", n)
	}
}

func TestParseFault(t *testing.T) {
	for _, words := range []string{
		"cut=100", "storage path=*.safetensors nth=2 times=-1 stall=5", "hub method=HEAD status=429,Retry-After,0", "hang", "drip=1000",
		"flip=3", "ignore-range", "lie=bytes 1-2/3", "unsatisfiable=7", "expire", "gzip", "redirect=foreign", "longer=9", "body={}",
	} {
		f, err := ParseFault(strings.Split(words, "|"))
		if !strings.Contains(words, " ") || strings.HasPrefix(words, "lie") {
			if err != nil || f.Do == nil {
				t.Errorf("%s: %v", words, err)
			}
			continue
		}
		if f, err = ParseFault(strings.Fields(words)); err != nil || f.Do == nil || f.On == "" {
			t.Errorf("%s: %+v, %v", words, f, err)
		}
	}
	for _, words := range []string{"", "nth=2", "cut", "cut=x", "nth=x cut=1", "explode", "status=x"} {
		if _, err := ParseFault(strings.Fields(words)); err == nil {
			t.Errorf("%q is taken for a fault", words)
		}
	}
}

// The fake cannot share a mistake with what it tests: it imports the standard library alone.
func TestImports(t *testing.T) {
	p, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range p.Imports {
		if strings.Contains(i, ".") || strings.HasPrefix(i, "quern") {
			t.Errorf("imports %s", i)
		}
	}
}

// Pseudo-random files are the same bytes however they are read.
func TestNoise(t *testing.T) {
	all, err := io.ReadAll(&noise{size: 200_001, seed: 3})
	if err != nil || len(all) != 200_001 {
		t.Fatal(len(all), err)
	}
	for _, off := range []int64{0, 1, 7, 8, 65_535, 65_536, 65_540, 131_072, 200_000} {
		n := &noise{size: 200_001, seed: 3}
		_, _ = n.Seek(off, io.SeekStart)
		p := make([]byte, 5)
		m, err := io.ReadFull(n, p)
		if string(p[:m]) != string(all[off:min(off+5, 200_001)]) {
			t.Errorf("at %d: %x, %v", off, p[:m], err)
		}
	}
}

// A script can do what a test can, and hears of its own mistakes.
func TestScript(t *testing.T) {
	h := New()
	defer h.Close()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/config.json", []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"repo a/b " + dir, "branch a/b dev " + dir, "tag a/b v1 dev", "noise a/b model.safetensors 5000 1", "put a/b ../evil x",
		"lie a/b config.json 7", "gated a/b tok1 tok2", "nolist a/b", "rename old/b a/b", "prefix /hf", "pages 2", "lifetime 3",
		"fault hub path=config.json status=503", "requests 0 0", "served model.safetensors 0 0", "noleak secret",
	} {
		if err := h.Script(strings.Fields(line)...); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	resp, _ := ask(t, "GET", h.URL()+"/a/b/resolve/v1/config.json", "Authorization", "Bearer tok2")
	if resp.StatusCode != 503 {
		t.Errorf("the fault gave %d", resp.StatusCode)
	}
	resp, _ = ask(t, "GET", h.URL()+"/old/b/resolve/v1/config.json?x=y", "Authorization", "Bearer tok2")
	if resp.StatusCode != 307 || resp.Header.Get("Location") != "/hf/a/b/resolve/v1/config.json?x=y" {
		t.Errorf("renamed: %d %v", resp.StatusCode, resp.Header)
	}
	_, _ = ask(t, "GET", h.ForeignURL()+"/x", "Authorization", "Bearer secret")
	for _, line := range []string{
		"", "explode", "repo a/b", "branch no/ne x y", "requests 0 1", "served config.json 1 x", "noleak secret", "lie a/b config.json x",
		"fault cut", "pages x", "noise a/b m x 1",
	} {
		if err := h.Script(strings.Fields(line)...); err == nil {
			t.Errorf("%q succeeded", line)
		}
	}
}
