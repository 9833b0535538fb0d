package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/rogpeppe/go-internal/testscript"
)

// serveRegistry is a registry as a program: registry-server DIR [denied | busy N]. It prints its address and keeps blobs in the folder.
// denied lets nobody in; busy answers the first N uploads with 503.
func serveRegistry() {
	h := registry.New(registry.WithBlobHandler(registry.NewDiskBlobHandler(os.Args[1])), registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0)))
	mode, busy := "", int64(0)
	if len(os.Args) > 2 {
		mode = os.Args[2]
	}
	if len(os.Args) > 3 {
		busy, _ = strconv.ParseInt(os.Args[3], 10, 64) //nolint:errcheck // scripts write numbers
	}
	var uploads atomic.Int64
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(l.Addr())
	log.Fatal(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case mode == "denied":
			w.Header().Set("Www-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
		case mode == "busy" && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/blobs/") && uploads.Add(1) <= busy:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			h.ServeHTTP(w, r)
		}
	})))
}

// startRegistry DIR [denied | busy N] starts the program; the script finds its address in $REGISTRY.
func startRegistry(ts *testscript.TestScript, _ bool, args []string) {
	args[0] = ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(args[0], 0o777))
	cmd := exec.Command(lookProgram(ts, "registry-server"), args...)
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		cmd.Process.Kill() //nolint:errcheck // it is there
		cmd.Wait()         //nolint:errcheck // it was killed
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	ts.Check(err)
	ts.Setenv("REGISTRY", strings.TrimSpace(line))
}

// pulledBack NAME:TAG MEDIA FILE pulls a manifest from the registry with nothing of ours, proves the digest of every blob that it names,
// and demands that the first layer of that media type is the file.
func pulledBack(ts *testscript.TestScript, _ bool, args []string) {
	name, tag, _ := strings.Cut(args[0], ":")
	base := "http://" + ts.Getenv("REGISTRY") + "/v2/" + name
	get := func(path string) []byte {
		req, err := http.NewRequest(http.MethodGet, base+path, nil)
		ts.Check(err)
		req.Header.Set("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json")
		resp, err := http.DefaultClient.Do(req)
		ts.Check(err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		ts.Check(err)
		if resp.StatusCode != http.StatusOK {
			ts.Fatalf("%s: %s", path, resp.Status)
		}
		return b
	}
	type desc struct {
		MediaType, Digest string
		Size              int64
	}
	var m struct {
		MediaType string
		Config    desc
		Layers    []desc
	}
	ts.Check(json.Unmarshal(get("/manifests/"+tag), &m))
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	ts.Check(json.Unmarshal(get("/blobs/"+m.Config.Digest), &config))
	found := false
	for i, l := range m.Layers {
		b := get("/blobs/" + l.Digest)
		sum := sha256.Sum256(b)
		if l.Digest != "sha256:"+hex.EncodeToString(sum[:]) || l.Size != int64(len(b)) || i >= len(config.RootFS.DiffIDs) || config.RootFS.DiffIDs[i] != l.Digest {
			ts.Fatalf("layer %d: %+v, %d bytes with %x; configuration %v", i, l, len(b), sum, config.RootFS.DiffIDs)
		}
		if l.MediaType == args[1] && !found {
			found = true
			if string(b) != ts.ReadFile(args[2]) {
				ts.Fatalf("%s is not %s", l.Digest, args[2])
			}
		}
	}
	if !found {
		ts.Fatalf("no layer of %s in %+v", args[1], m)
	}
}

// fakeOllama takes `create NAME -f MODELFILE`: it appends what it was told to $HOME/ollama.log, and knows no model named broken.
func fakeOllama() {
	if len(os.Args) != 5 || os.Args[1] != "create" || os.Args[3] != "-f" {
		log.Fatalf("unknown command %q", os.Args)
	}
	modelfile, err := os.ReadFile(os.Args[4])
	if err != nil {
		log.Fatal(err)
	}
	if strings.HasPrefix(os.Args[2], "broken:") {
		fmt.Fprintln(os.Stderr, "Error: unsupported architecture")
		os.Exit(1)
	}
	f, err := os.OpenFile(os.Getenv("HOME")+"/ollama.log", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintf(f, "create %s\n%s", os.Args[2], modelfile)
	f.Close()
}
