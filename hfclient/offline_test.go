package hfclient

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"quern/hfclient/hubtest"
)

// Offline, the cache alone answers: with our notes, with nothing but what Python's client leaves, and never with half
// a model.
func TestOffline(t *testing.T) {
	hub, repo := testHub(t)
	c := testClient(t, hub)
	pulled, err := c.Pull(t.Context(), Request{Repo: "acme/tiny"})
	if err != nil {
		t.Fatal(err)
	}
	hub.Forget()
	c.o.Offline = true
	folder := filepath.Join(c.CacheDir(), "models--acme--tiny")
	for _, notes := range []bool{true, false} {
		if !notes {
			if err := os.RemoveAll(filepath.Join(folder, ".quern")); err != nil {
				t.Fatal(err)
			}
		}
		for _, revision := range []string{"main", repo.Commit("main")} {
			s, err := c.Pull(t.Context(), Request{Repo: "acme/tiny", Revision: revision})
			if err != nil {
				t.Fatal(notes, revision, err)
			}
			checkSnapshot(t, s, tiny())
			if s.Dir != pulled.Dir || len(s.Files) != len(pulled.Files) {
				t.Errorf("%s with %d files", s.Dir, len(s.Files))
			}
		}
	}
	for _, tc := range []Request{
		{Repo: "acme/other"},
		{Repo: "acme/tiny", Revision: "dev"},
		{Repo: "acme/tiny", Files: []string{"onnx/model.onnx"}},
	} {
		_, err := c.Pull(t.Context(), tc)
		checkError(t, err, ErrOffline, "")
	}
	if err := os.Remove(filepath.Join(pulled.Dir, shard2)); err != nil {
		t.Fatal(err)
	}
	_, err = c.Pull(t.Context(), Request{Repo: "acme/tiny"})
	checkError(t, err, ErrOffline, shard2)
	if n := len(hub.Requests()); n != 0 {
		t.Errorf("%d requests while offline", n)
	}
}

// A commit that was planned is known offline, too; its weights are not.
func TestOfflineAfterPlan(t *testing.T) {
	hub, _ := testHub(t)
	c := testClient(t, hub)
	if _, err := c.PlanPull(t.Context(), Request{Repo: "acme/tiny"}); err != nil {
		t.Fatal(err)
	}
	c.o.Offline = true
	rev, err := c.Resolve(t.Context(), "acme/tiny", "main")
	if err != nil || len(rev.Files) != len(tiny()) {
		t.Fatal(err)
	}
	_, err = c.Pull(t.Context(), Request{At: rev})
	checkError(t, err, ErrOffline, "5 of 6 files")
}

// A pull that is cancelled stops at once, and the next one continues from what it left.
func TestCancel(t *testing.T) {
	hub, _ := testHub(t)
	hub.Fault(hubtest.Fault{Path: shard1, Nth: 5, Do: hubtest.Hang(), Times: -1})
	c := testClient(t, hub, func(o *Options) { o.Connections, o.StallTimeout = 1, o.StallTimeout*1000 })
	ctx, cancel := context.WithCancel(t.Context())
	req := Request{Repo: "acme/tiny", Files: []string{shard1}, Progress: func(p Progress) {
		if p.Done >= 4*64<<10 {
			cancel()
		}
	}}
	if _, err := c.Pull(ctx, req); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	hub.Forget()
	p, err := c.PlanPull(t.Context(), req)
	if err != nil || p.Fetch != 700_001-4*64<<10 {
		t.Errorf("%d bytes are left, %v", p.Fetch, err)
	}
	s, err := c.Pull(t.Context(), Request{At: p.Revision, Files: []string{shard1}})
	if err != nil {
		t.Fatal(err)
	}
	checkSnapshot(t, s, tiny())
	if s.Fetched != p.Fetch || hub.Served(shard1) != p.Fetch {
		t.Errorf("fetched %d, served %d, planned %d", s.Fetched, hub.Served(shard1), p.Fetch)
	}
}

// A caller that does not accept the plan costs no byte of weights, and neither does a plan.
func TestAccept(t *testing.T) {
	hub, _ := testHub(t)
	c := testClient(t, hub)
	no := errors.New("does not fit")
	var seen *Plan
	_, err := c.Pull(t.Context(), Request{Repo: "acme/tiny", Accept: func(p *Plan) error { seen = p; return no }})
	if !errors.Is(err, no) || hub.Served(shard1)+hub.Served(shard2) != 0 {
		t.Errorf("%v, %d bytes served", err, hub.Served(shard1))
	}
	if seen == nil || len(seen.Missing) != 5 || len(seen.Files) != 6 || seen.Choice.Format != Safetensors {
		t.Errorf("plan %+v", seen)
	}
}
