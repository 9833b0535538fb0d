package main

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"quern/convert/conformance"
	"quern/hfclient/hubtest"
	"quern/quantize/llamacpp"
	"quern/stages/source/pocket"
)

// benchSet is three models of the Hub, at the rate of a home's connection, and three folders, in three types, each tried.
const benchSet = `defaults:
  types: [Q4_K_M, Q8_0, F16]
  measure: []
models:
  - acme/one
  - {model: m/gemma2-2b-it, name: gemma, gates: {smoke: report}}
  - acme/two
  - {model: m/falcon-40b, name: falcon, gates: {smoke: report}, options: {pre: falcon}}
  - acme/three
  - {model: m/arcee, name: arcee, gates: {smoke: report}, options: {pre: llama-bpe}}
`

// BenchmarkBatch makes a set on two cores with stages that overlap, one after the other, and with sources given back: wall time, and
// the disk that cache and artifacts took at most.
func BenchmarkBatch(b *testing.B) {
	rt, err := llamacpp.Find(llamacpp.FindOptions{})
	if err != nil {
		b.Skip("skipped: " + err.Error())
	}
	hub := hubtest.New()
	defer hub.Close()
	src, err := pocket.FS()
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"one", "two", "three"} {
		hub.Add("acme/"+name, src)
	}
	tree, err := conformance.OpenBundle("../../convert/testdata/cases.tar.zst")
	if err != nil {
		b.Fatal(err)
	}
	root := b.TempDir()
	for _, name := range []string{"gemma2-2b-it", "falcon-40b", "arcee"} {
		c, err := conformance.OpenCase(tree, "convert/"+name)
		if err != nil {
			b.Fatal(err)
		}
		ckpt, err := c.Checkpoint()
		if err != nil {
			b.Fatal(err)
		}
		if err := os.CopyFS(filepath.Join(root, "m", name), ckpt); err != nil {
			b.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "set.yaml"), []byte(benchSet), 0o600); err != nil {
		b.Fatal(err)
	}
	for _, way := range []struct {
		name string
		args []string
	}{{"overlapping", nil}, {"one-after-the-other", []string{"--jobs", "1"}}, {"overlapping-evict", []string{"--evict"}}, {"one-after-the-other-evict", []string{"--jobs", "1", "--evict"}}} {
		b.Run(way.name, func(b *testing.B) {
			peak := int64(0)
			for b.Loop() {
				dir := b.TempDir()
				cmd := exec.Command("quern", append([]string{"batch", "set.yaml", "-o", filepath.Join(dir, "art"), "--cores", "2", "--limit-rate", "8M", "--progress", "quiet"}, way.args...)...)
				cmd.Dir = root
				cmd.Env = append(os.Environ(), hub.Env(filepath.Join(dir, "cache"))...)
				cmd.Env = append(cmd.Env, "HOME="+dir, "XDG_DATA_HOME="+dir, "HF_HUB_CACHE=", llamacpp.EnvLib+"="+rt.Dir)
				stop := sample(dir, &peak)
				out, err := cmd.CombinedOutput()
				stop()
				if err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
			}
			b.ReportMetric(float64(atomic.LoadInt64(&peak))/1e6, "peak-disk-MB")
		})
	}
}

// sample measures what a folder takes, over and over, until it is stopped.
func sample(dir string, peak *int64) (stop func()) {
	quit, done := make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		for {
			n := int64(0)
			filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error { //nolint:errcheck // files come and go
				if err == nil && d.Type().IsRegular() && !strings.HasSuffix(p, ".lock") {
					if fi, err := d.Info(); err == nil {
						n += fi.Size()
					}
				}
				return nil
			})
			if n > atomic.LoadInt64(peak) {
				atomic.StoreInt64(peak, n)
			}
			select {
			case <-quit:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	return func() { close(quit); <-done }
}
