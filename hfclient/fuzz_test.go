package hfclient

import (
	"encoding/json"
	"strings"
	"testing"
)

func FuzzNextLink(f *testing.F) {
	for _, s := range []string{
		`<https://huggingface.co/api/models/a/b/tree/main?cursor=Zm9v>; rel="next"`,
		`<a>; rel="prev", <b>; rel="next"`, `<a>; title="x, <c>; rel=next"; rel=prev, <b>;rel=next`, `<a>; rel="prev next"`,
		`<a`, `>a<`, `<>; rel=next`, `<a>; rel="next`, `<a>; title="\"", <b>; rel="next"`, strings.Repeat("<", 20_000), ",,,;;;", `<a>;rel`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := nextLink(s)
		if got != "" && !strings.Contains(s, "<"+got+">") {
			t.Errorf("%q is not a target of %q", got, s)
		}
		if strings.ContainsAny(got, ">") {
			t.Errorf("target %q", got)
		}
	})
}

func TestNextLink(t *testing.T) {
	for header, want := range map[string]string{
		"":                                 "",
		`<a>; rel="next"`:                  "a",
		`<a>; rel="prev", <b>; rel="next"`: "b",
		`<a>; title="x, <c>; rel=next"; rel=prev, <b>;rel=next`: "b",
		`<a>; REL=Next`:        "a",
		`<a>; rel="prev next"`: "a",
		`<a>; rel=nextish`:     "",
		`<a`:                   "",
	} {
		if got := nextLink(header); got != want {
			t.Errorf("%s: %q", header, got)
		}
	}
}

// hostileListings are answers that a careless reader takes for a listing.
var hostileListings = []string{
	`{"sha":"` + strings.Repeat("a", 40) + `","siblings":[{"rfilename":"../evil","size":1,"blobId":"` + strings.Repeat("b", 40) + `"}]}`,
	`{"sha":"main","siblings":[]}`, `{"sha":"` + strings.Repeat("a", 40) + `","siblings":null,"gated":{"x":1}}`,
	`{"sha":"` + strings.Repeat("a", 40) + `","siblings":[{"rfilename":"a","size":-1,"blobId":"x","lfs":{"sha256":"y","size":9e18}}]}`,
	`{"id":"../../x","sha":"` + strings.Repeat("a", 40) + `","siblings":[{"rfilename":"a","size":1,"lfs":{"sha256":"*","size":2}}]}`,
	`[]`, `{}`, `null`, `"x"`, `<html>`, ``, strings.Repeat("[", 10_000), `{"sha":1e999}`,
	`[{"type":"file","oid":"x","size":1,"path":"a"},{"type":"directory","path":"b"}]`,
	`[{"type":"file","path":"a\u0000b","size":99999999999999999999}]`,
	`[{"type":"file","path":"a","oid":"` + strings.Repeat("c", 40) + `","size":3,"lfs":{"oid":"` + strings.Repeat("d", 64) + `","size":3},"xetHash":"****"}]`,
}

// FuzzListing holds what every listing that is accepted promises: usable names, sizes, digests, each file once.
func FuzzListing(f *testing.F) {
	for _, s := range hostileListings {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		check := func(files []File) {
			if checkFiles(files) != nil {
				return
			}
			seen := map[string]bool{}
			for _, x := range files {
				if cleanName(x.Path) != nil || x.Size < 0 || len(x.ETag()) != 40 && len(x.ETag()) != 64 || seen[x.Path] {
					t.Errorf("accepted %+v", x)
				}
				seen[x.Path] = true
			}
		}
		if r, _, err := parseInfo(data); err == nil {
			if len(r.Commit) != 40 || r.Canonical != "" && CheckRepo(r.Canonical) != nil {
				t.Errorf("accepted %+v", r)
			}
			check(r.Files)
		}
		if files, err := parseTree(data); err == nil {
			check(files)
		}
	})
}

// FuzzIndex holds that an index names shards once, in order, and inside the repo.
func FuzzIndex(f *testing.F) {
	for _, s := range []string{`{"weight_map":{"a":"x","b":"x","c":"y"}}`, `{"weight_map":{"a":"../x"}}`, `{"weight_map":[]}`, `{"weight_map":{"a":1}}`, `{`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		names, err := parseIndex(data)
		if err != nil {
			return
		}
		for i, n := range names {
			if cleanName(n) != nil || i > 0 && names[i-1] >= n {
				t.Errorf("accepted %q", names)
			}
		}
	})
}

// FuzzSafeHead holds that the head of a remote file never makes blocks that leave it or overlap.
func FuzzSafeHead(f *testing.F) {
	f.Add([]byte(`{"a":{"dtype":"U8","shape":[9],"data_offsets":[0,9]},"b":{"data_offsets":[9,5000000]}}`), int64(6_000_000))
	f.Add([]byte(`{"a":{"data_offsets":[-5,9223372036854775807]},"b":{"data_offsets":[3,1]},"__metadata__":{}}`), int64(100_000))
	f.Add([]byte(`nonsense`), int64(20))
	f.Fuzz(func(t *testing.T, header []byte, size int64) {
		if size < int64(len(header))+9 || size > 1<<26 || len(header) > 1<<16 {
			return
		}
		data := append(make([]byte, 8), header...)
		r := &remoteFile{file: File{Size: size}, hash: newHash(File{}), blocks: map[int64]*block{}}
		r.setHead(data)
		blocks := 0
		for off := int64(len(data)); off < size; blocks++ {
			lo, hi := r.span(off)
			if lo != off || hi <= lo || hi > size || hi-lo > blockSize {
				t.Fatalf("block [%d, %d) at %d of %d", lo, hi, off, size)
			}
			off = hi
		}
	})
}

// FuzzSidecar holds that a progress file is believed only if all its numbers can be true.
func FuzzSidecar(f *testing.F) {
	f.Add([]byte(`{"kind":1,"etag":"e","size":100,"segment":30,"done":[30,30,30,10],"hashed":100}`))
	f.Add([]byte(`{"kind":1,"etag":"e","size":100,"segment":-1,"done":[]}`))
	f.Add([]byte(`{"kind":1,"etag":"e","size":100,"segment":9223372036854775807,"done":[101]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		blob := dir + "/b"
		write(&testing.T{}, progressPath(blob), string(data))
		s, ok := readSidecar(blob, File{SHA256: "e", Size: 100})
		if !ok {
			return
		}
		var sum int64
		for _, d := range s.Done {
			sum += d
		}
		if sum < 0 || sum > 100 || s.Hashed > sum {
			again, _ := json.Marshal(s)
			t.Errorf("believed %s", again)
		}
	})
}

// FuzzParts: whatever a server says about an upload in parts, the parts cover the object exactly or the plan is refused.
func FuzzParts(f *testing.F) {
	for _, header := range []string{
		`{"chunk_size":"5","00001":"https://a/1","00002":"https://a/2"}`, `{"chunk_size":5,"1":"https://a/1"}`, `{"chunk_size":"9223372036854775807","1":"x"}`,
		`{"chunk_size":"0"}`, `{"chunk_size":"-1","1":"x"}`, `{"chunk_size":"1","1":"x","01":"y"}`, `{"chunk_size":"4","1":{},"2":"x","3":"y"}`, `{}`,
	} {
		f.Add(header, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		var h map[string]any
		if size < 1 || json.Unmarshal([]byte(header), &h) != nil {
			return
		}
		p, err := newParts("oid", size, &link{Href: "https://a", Header: h})
		if err != nil {
			return
		}
		n := int64(len(p.URLs))
		if n < 1 || n > maxParts || (n-1)*p.Chunk >= size || size-(n-1)*p.Chunk > p.Chunk {
			t.Errorf("%d parts of %d bytes for %d", n, p.Chunk, size)
		}
		for i, u := range p.URLs {
			if u == "" {
				t.Errorf("part %d has no address", i+1)
			}
		}
	})
}
