package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// fleet MANIFEST OUT STAGE... has the manifest done by three worker processes over a queue server. Each time a worker begins one of the
// stages, that stage comes off the list and the worker is killed with SIGKILL and started anew; the server is killed and started anew
// after the second of them, and so is the batch that asked, soon after it did. Then the workers end, and the same command again must find nothing to do.
func fleet(ts *testscript.TestScript, _ bool, args []string) {
	f := &ships{ts: ts, quern: lookProgram(ts, "quern"), stages: args[2:], dir: ts.Getenv("WORK")}
	f.choose()
	defer f.end()
	f.serve()
	for i := range 3 {
		f.sail(fmt.Sprint("w", i))
	}
	early := f.command("batch", args[0], "-o", args[1], "--queue", "nats://"+f.address)
	ts.Check(early.Start()) // who asked is killed too, and asks again
	time.Sleep(700 * time.Millisecond)
	early.Process.Kill() //nolint:errcheck // it has just been started
	early.Wait()         //nolint:errcheck // it was killed
	out, code := f.batch(args[0], args[1])
	ts.Logf("%s", out)
	f.mu.Lock()
	left, kills := f.stages, f.kills
	f.mu.Unlock()
	if len(left) > 0 || !f.restarted {
		ts.Fatalf("no worker was killed in %v", left)
	}
	if code != 1 {
		ts.Fatalf("exit code %d, want 1: failures of different kinds", code)
	}
	f.leave()
	out, _ = f.batch(args[0], args[1])
	if !strings.Contains(out, "of which 0 ran") {
		ts.Fatalf("the second run:\n%s", out)
	}
	count(ts, "fleet: %d workers killed in %s, the server and the one who asked killed once", kills, strings.Join(args[2:], ", "))
}

// lone MANIFEST OUT has the manifest done by one worker that gives its sources back, and demands that its cache is empty afterwards.
func lone(ts *testscript.TestScript, _ bool, args []string) {
	f := &ships{ts: ts, quern: lookProgram(ts, "quern"), dir: ts.Getenv("WORK")}
	f.choose()
	defer f.end()
	f.serve()
	w := f.command("worker", "--queue", "nats://"+f.address, "--name", "lone", "--dir", filepath.Join(f.dir, "lone"), "--evict")
	ts.Check(w.Start())
	out, code := f.batch(args[0], args[1])
	w.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it is there
	w.Wait()                          //nolint:errcheck // it was stopped
	if code != 0 {
		ts.Fatalf("exit code %d\n%s", code, out)
	}
	cache := filepath.Join(f.dir, "lone", "cache")
	left, err := filepath.Glob(filepath.Join(cache, "models--*", "blobs", "*"))
	ts.Check(err)
	if !exists(cache) || len(left) > 0 {
		ts.Fatalf("left in the cache: %v", left)
	}
}

type ships struct {
	ts      *testscript.TestScript
	quern   string
	dir     string
	address string

	mu        sync.Mutex
	stages    []string // in which a worker is still to be killed
	kills     int
	restarted bool
	ending    bool
	workers   map[string]*exec.Cmd
	server    *exec.Cmd
	wait      sync.WaitGroup
}

// lookProgram finds one of the programs that this test binary is.
func lookProgram(ts *testscript.TestScript, name string) string {
	for dir := range strings.SplitSeq(ts.Getenv("PATH"), string(os.PathListSeparator)) {
		if p := filepath.Join(dir, name); exists(p) {
			return p
		}
	}
	ts.Fatalf("%s is not in PATH", name)
	return ""
}

func (f *ships) command(args ...string) *exec.Cmd {
	cmd := exec.Command(f.quern, args...)
	cmd.Dir = f.dir
	for _, k := range []string{"HOME", "XDG_DATA_HOME", "PATH", "HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_TOKEN", "QUERN_LLAMA_LIB", "HF_HUB_DOWNLOAD_TIMEOUT"} {
		cmd.Env = append(cmd.Env, k+"="+f.ts.Getenv(k))
	}
	return cmd
}

// choose finds an address: the server comes back to it after it was killed.
func (f *ships) choose() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	f.ts.Check(err)
	f.address = l.Addr().String()
	f.ts.Check(l.Close())
}

func (f *ships) serve() {
	f.server = f.command("queue", "serve", "--listen", f.address, "--dir", filepath.Join(f.dir, "queue"))
	f.ts.Check(f.server.Start())
	for range 600 { // half a minute: other tests may have all cores
		if c, err := net.Dial("tcp", f.address); err == nil {
			c.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	f.ts.Fatalf("the server does not answer")
}

// sail starts a worker and watches what it says.
func (f *ships) sail(name string) {
	cmd := f.command("worker", "--queue", "nats://"+f.address, "--name", name, "--dir", filepath.Join(f.dir, name), "--patience", "1s", "--tries", "20", "--as", "M3 Pro 18GB", "--json")
	out, err := cmd.StdoutPipe()
	f.ts.Check(err)
	log, err := os.OpenFile(filepath.Join(f.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	f.ts.Check(err)
	cmd.Stderr = log
	f.ts.Check(cmd.Start())
	f.mu.Lock()
	if f.workers == nil {
		f.workers = map[string]*exec.Cmd{}
	}
	f.workers[name] = cmd
	f.mu.Unlock()
	f.wait.Go(func() {
		defer log.Close()
		again := f.watch(cmd, io.TeeReader(out, log))
		cmd.Wait() //nolint:errcheck // it was killed
		if again {
			f.sail(name)
		}
	})
}

// watch kills a worker when it begins the next stage of the list.
func (f *ships) watch(cmd *exec.Cmd, out io.Reader) (again bool) {
	sc := bufio.NewScanner(out)
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var e struct{ Type, Entry, Stage, State string }
		if json.Unmarshal(sc.Bytes(), &e) != nil || e.Type != "stage" || e.State != "" {
			continue
		}
		name, _, _ := strings.Cut(e.Stage, " ")
		f.mu.Lock()
		if !f.ending && len(f.stages) > 0 && f.stages[0] == name {
			f.stages = f.stages[1:]
			f.kills++
			again = true
			cmd.Process.Kill() //nolint:errcheck // it is there
			if f.kills == 2 {
				f.restarted = true
				f.server.Process.Kill() //nolint:errcheck // as above
				f.server.Wait()         //nolint:errcheck // as above
				f.mu.Unlock()
				f.serve()
				f.mu.Lock()
			}
		}
		f.mu.Unlock()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return again && !f.ending
}

func (f *ships) batch(manifest, out string) (string, int) {
	cmd := f.command("batch", manifest, "-o", out, "--queue", "nats://"+f.address)
	b, _ := cmd.CombinedOutput() //nolint:errcheck // the code tells
	return string(b), cmd.ProcessState.ExitCode()
}

// leave ends the workers as Ctrl-C does.
func (f *ships) leave() {
	f.mu.Lock()
	f.ending = true
	for _, w := range f.workers {
		w.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it may have ended
	}
	f.mu.Unlock()
	f.wait.Wait()
}

func (f *ships) end() {
	f.leave()
	f.server.Process.Kill() //nolint:errcheck // it is there
	f.server.Wait()         //nolint:errcheck // it was killed
}
