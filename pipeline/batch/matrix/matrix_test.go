package matrix

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"quern/pipeline/batch/manifest"
)

func sample(n int) *manifest.Set {
	s := &manifest.Set{File: "sets/small.yaml", Runners: map[string][]string{"M3 Pro 18GB": {"self-hosted", "m3"}}}
	for i := range n {
		m := manifest.Model{Key: fmt.Sprint("m", i), Model: fmt.Sprint("org/m", i), Types: []manifest.Type{{Name: "Q8_0"}, {Fit: "6GiB"}}}
		if i%2 == 1 {
			m.For = []string{"M3 Pro 18GB"}
		}
		s.Models = append(s.Models, m)
	}
	return s
}

func TestShapes(t *testing.T) {
	s := sample(2)
	b, err := Write(GitHub, s, s.Entries())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"include":[{"key":"m0","model":"org/m0","types":"Q8_0, fit: 6GiB","for":"","runner":["ubuntu-latest"]},` +
		`{"key":"m1@m3-pro-18gb","model":"org/m1","types":"Q8_0, fit: 6GiB","for":"M3 Pro 18GB","runner":["self-hosted","m3"]}]}` + "\n"
	if string(b) != want {
		t.Errorf("%s\nwant %s", b, want)
	}
	if b, err = Write(GitLab, s, s.Entries()); err != nil {
		t.Fatal(err)
	}
	var jobs map[string]struct {
		Tags     []string
		Parallel struct{ Matrix []map[string][]string }
		Script   []string
	}
	if err := json.Unmarshal(b, &jobs); err != nil {
		t.Fatal(err)
	}
	j := jobs["quern self-hosted m3"]
	if len(jobs) != 2 || j.Parallel.Matrix[0]["QUERN_KEY"][0] != "m1@m3-pro-18gb" || !strings.Contains(j.Script[0], `--only "$QUERN_KEY"`) || j.Tags[1] != "m3" {
		t.Errorf("%s", b)
	}
	if _, err := Write("jenkins", s, nil); err == nil {
		t.Error("an unknown shape was written")
	}
}

// Every entry is in one part, the same for any set that it stands in, and parts are of like size.
func TestShard(t *testing.T) {
	const n, entries = 4, 400
	count := map[int]int{}
	small := map[string]int{}
	for _, e := range sample(40).Entries() {
		small[e.Key] = Shard(e, n)
	}
	for _, e := range sample(entries).Entries() {
		k := Shard(e, n)
		if want, ok := small[e.Key]; ok && want != k {
			t.Errorf("%s moves from %d to %d", e.Key, want, k)
		}
		count[k]++
	}
	for i := 1; i <= n; i++ {
		if count[i] < entries/n*7/10 {
			t.Errorf("parts: %v", count)
		}
	}
}
