package hfclient

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"quern/hfclient/hubtest"
)

// childVar makes the test binary pull a repo instead of running tests.
const childVar = "HFCLIENT_TEST_PULL"

func TestMain(m *testing.M) {
	repo := os.Getenv(childVar)
	if repo == "" {
		os.Exit(m.Run())
	}
	c, err := New(FromEnvironment(os.LookupEnv))
	if err == nil {
		var s *Snapshot
		if s, err = c.Pull(context.Background(), Request{Repo: repo}); err == nil {
			fmt.Println(s.Dir)
			return
		}
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// child is a process that pulls repo, with its output.
func child(t *testing.T, repo string, env ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(exe)
	cmd.Env = append(append(os.Environ(), childVar+"="+repo), env...)
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

// A process that is killed at ten random points leaves nothing wrong under a final name, and each kill costs less
// than a tenth of the file, whatever its size.
func TestKill(t *testing.T) {
	const kills = 10
	for _, size := range []int64{200_000, 12 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			hub := hubtest.New()
			t.Cleanup(hub.Close)
			repo := hub.Add("acme/big", fstest.MapFS{"config.json": {Data: []byte("{}")}})
			digest := repo.PutNoise("model.safetensors", size, 11)
			// Slow enough that little is under way between server and client.
			hub.Fault(hubtest.Fault{Do: hubtest.Drip(int(size)), Times: -1})
			home := t.TempDir()
			root := filepath.Join(home, "hub")
			g := rand.New(rand.NewPCG(1, uint64(size)))
			for k := range kills {
				at := size*int64(k)/kills + g.Int64N(size/kills)
				cmd, out := child(t, "acme/big", hub.Env(home)...)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				ended := make(chan error, 1)
				go func() { ended <- cmd.Wait() }()
				// On a slow machine a child may end before it is killed: that is no failure.
				before, running := hub.Served("model.safetensors"), true
				for running && hub.Served("model.safetensors") < max(at, before+1) {
					select {
					case err := <-ended:
						if running = false; err != nil {
							t.Fatal(err, out)
						}
					case <-time.After(time.Millisecond):
					}
				}
				if running {
					_ = cmd.Process.Kill()
					<-ended
				}
				checkCache(t, root)
				if _, err := os.Stat(filepath.Join(root, "models--acme--big", "blobs", digest)); err == nil && hub.Served("model.safetensors") < size {
					t.Fatal("a blob before all of it was served")
				}
			}
			cmd, out := child(t, "acme/big", hub.Env(home)...)
			if err := cmd.Run(); err != nil {
				t.Fatal(err, out)
			}
			checkCache(t, root)
			if _, err := os.Stat(filepath.Join(root, "models--acme--big", "blobs", digest)); err != nil {
				t.Fatal(err)
			}
			twice := hub.Served("model.safetensors") - size
			t.Logf("%d kills: %.1f %% of the file fetched twice", kills, 100*float64(twice)/float64(size))
			if twice >= kills*size/10 {
				t.Errorf("%d of %d bytes were fetched twice in %d kills", twice, size, kills)
			}
		})
	}
}

// Two processes that pull at once fetch each byte once, and both end well.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	hub, _ := testHub(t)
	hub.Fault(hubtest.Fault{Do: hubtest.Drip(2_000_000), Times: -1})
	home := t.TempDir()
	a, outA := child(t, "acme/tiny", hub.Env(home)...)
	b, outB := child(t, "acme/tiny", hub.Env(home)...)
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	if err := a.Wait(); err != nil {
		t.Error(err, outA)
	}
	if err := b.Wait(); err != nil {
		t.Error(err, outB)
	}
	if got := hub.Served(shard1); got != 700_001 {
		t.Errorf("%d bytes of %s were served", got, shard1)
	}
	checkCache(t, filepath.Join(home, "hub"))
	if outA.String() != outB.String() || outA.Len() == 0 {
		t.Errorf("%q and %q", outA, outB)
	}
}

// HTTPS_PROXY is used for the Hub: the proxy sees tunnels only, never an address or a token.
func TestProxy(t *testing.T) {
	t.Parallel()
	hub, _ := testHub(t)
	// The Hub once more behind TLS, under a name that only the proxy knows.
	back := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, _ := http.NewRequest(r.Method, hub.URL()+r.URL.RequestURI(), nil)
		req.Header = r.Header.Clone()
		resp, err := back.Do(req)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		for k, v := range resp.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
	}))
	t.Cleanup(secure.Close)
	tunnels := make(chan string, 100)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tunnels <- r.Method + " " + r.Host + r.Header.Get("Authorization")
		there, err := net.Dial("tcp", secure.Listener.Addr().String())
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		here, rest, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(there, rest); _ = there.Close() }()
		_, _ = io.Copy(here, there)
		_ = here.Close()
	}))
	t.Cleanup(proxy.Close)
	home := t.TempDir()
	pem := filepath.Join(home, "ca.pem")
	writeCertificate(t, pem, secure.Certificate().Raw)
	// Small files only: a signed address of plain HTTP is refused behind an encrypted endpoint.
	cmd, out := child(t, "acme/tiny", append(hub.Env(home), "HF_ENDPOINT=https://example.com", "HTTPS_PROXY="+proxy.URL,
		"SSL_CERT_FILE="+pem, "HF_TOKEN="+testToken)...)
	_ = cmd.Run()
	if !bytes.Contains(out.Bytes(), []byte("which is not encrypted")) {
		t.Errorf("output %s", out)
	}
	if _, err := os.Stat(filepath.Join(home, "hub", "models--acme--tiny", "snapshots")); err != nil {
		t.Error(err)
	}
	if len(tunnels) == 0 {
		t.Fatal("the proxy saw nothing")
	}
	for len(tunnels) > 0 {
		if got := <-tunnels; got != "CONNECT example.com:443" {
			t.Errorf("the proxy saw %q", got)
		}
	}
}
