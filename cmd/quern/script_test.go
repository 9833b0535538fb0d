package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"quern/convert/conformance"
	"quern/convert/gguf"
	"quern/convert/tokenizer/corpus"
	"quern/hfclient/hubtest"
	"quern/quantize/llamacpp"
	"quern/stages/pockettest"
	"quern/stages/source/pocket"

	"github.com/rogpeppe/go-internal/testscript"
)

// The scripts run the real program: this test binary is quern when it is called by that name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"quern": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if len(os.Args) > 1 && os.Args[1] == workerName {
				befall(os.Getenv("WORKER_FAULT"))
			}
			os.Exit(witnessed(os.Args, func() int { return run(ctx, os.Args) }))
		},
		"registry-server": serveRegistry,
		"ollama":          fakeOllama,
	})
}

// TestScript runs every testdata/script/*.txtar: blocks that open with a sentence of behaviour. All JSON that the programs write
// is held against the schemas.
func TestScript(t *testing.T) {
	w := newWatch(t)
	t.Cleanup(func() { // the scripts run in parallel: this comes after the last
		if _, err := llamacpp.Find(llamacpp.FindOptions{}); err == nil && whole() {
			w.complete()
		}
	})
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			if err := w.script(e); err != nil {
				return err
			}
			return setup(e)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"until": until, "torn": tearRecords,
			"exits": exits_, "hub": hubCommand, "pocket": unpackPocket, "checkpoint": unpackCase, "vision": unpackVision, "tokenizer": unpackTokenizer, "lora": writeAdapter, "killed": killed, "interrupted": interrupted, "stopped": stopped, "nan": spoil, "flip": flip, "absent": absent, "same": same,
			"models": writeModels, "entries": runEntries, "sums": compareSums, "events": checkEvents, "fleet": fleet, "lone": lone, "registry": startRegistry, "pulled": pulledBack,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "runtime" {
				_, err := llamacpp.Find(llamacpp.FindOptions{})
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %q", cond)
		},
		RequireExplicitExec: true,
	})
}

type hubKey struct{}

// setup gives a script a home of its own, a fake Hub with the pocket model, and the runtime of this machine.
func setup(e *testscript.Env) error {
	home := filepath.Join(e.WorkDir, "home")
	if err := os.MkdirAll(home, 0o777); err != nil {
		return err
	}
	e.Vars = append(e.Vars, "HOME="+home, "XDG_DATA_HOME="+filepath.Join(home, "data"), "NO_COLOR=1")
	if rt, err := llamacpp.Find(llamacpp.FindOptions{}); err == nil {
		e.Vars = append(e.Vars, "RUNTIME="+rt.Dir, llamacpp.EnvLib+"="+rt.Dir)
	}
	cases, err := filepath.Abs("../../convert/testdata/cases.tar.zst")
	if err != nil {
		return err
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(free.Addr().String()) //nolint:errcheck // an address that was made by this system
	free.Close()
	e.Vars = append(e.Vars, "CASES="+cases, "PORT="+port)
	hub := hubtest.New()
	e.Defer(hub.Close)
	src, err := pocket.FS()
	if err != nil {
		return err
	}
	hub.Add("acme/pocket", src)
	sees, err := pockettest.Vision()
	if err != nil {
		return err
	}
	hub.Add("acme/sees", sees)
	gated := hub.Add("acme/gated", src)
	gated.Gated, gated.Granted = true, map[string]bool{"hf_good": true}
	hub.Add("acme/private", src).Private = true
	hub.Add("acme/disabled", src).Disabled = true
	hub.Add("acme/evil", src).Put("../evil.json", []byte("{}"))
	hub.Add("acme/shorter", src).Lie("model.safetensors", 9972160, "")
	hub.Add("acme/new-name", src)
	hub.Rename("acme/old-name", "acme/new-name")
	hub.Add("acme/huge", src).Lie("model.safetensors", 1<<44, strings.Repeat("ab", 32))
	e.Values[hubKey{}], e.Values[testKey{}] = hub, e.T()
	e.Vars = append(e.Vars, hub.Env(home)...)
	return nil
}

// exits CODE PROGRAM ARGS... runs a program and demands its exit code.
func exits_(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var ee *exec.ExitError
	if errors.As(err, &ee) {
		got = ee.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// hub add REPO DIR | fault WORDS... | forget | leaks SECRET | served PATH LIMIT: see hubtest.ParseFault. leaks fails when a host other than the
// Hub's was sent the secret; served fails when more bytes of the file than LIMIT were handed out.
func hubCommand(ts *testscript.TestScript, neg bool, args []string) {
	hub := ts.Value(hubKey{}).(*hubtest.Hub)
	if len(args) == 0 {
		ts.Fatalf("usage: hub add|fault|forget|leaks|served")
	}
	switch args[0] {
	case "add":
		hub.Add(args[1], os.DirFS(ts.MkAbs(args[2])))
	case "fault":
		f, err := hubtest.ParseFault(args[1:])
		ts.Check(err)
		hub.Fault(f)
	case "forget":
		hub.Forget()
	case "script":
		for i, a := range args[1:] { // folders are those of the script
			if i > 1 && exists(ts.MkAbs(a)) {
				args[i+1] = ts.MkAbs(a)
			}
		}
		ts.Check(hub.Script(args[1:]...))
	case "leaks":
		if l := hub.Leaks(args[1]); (len(l) > 0) == neg {
			ts.Fatalf("%d requests carried the secret", len(l))
		}
	case "served":
		n := hub.Served(args[1])
		limit, err := strconv.ParseInt(args[2], 10, 64)
		ts.Check(err)
		if n > limit {
			ts.Fatalf("%d bytes of %s were served, at most %d", n, args[1], limit)
		}
	default:
		ts.Fatalf("hub %s is not known", args[0])
	}
}

// pocket DIR writes the pocket checkpoint into a folder.
func unpackPocket(ts *testscript.TestScript, _ bool, args []string) {
	src, err := pocket.FS()
	ts.Check(err)
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), src))
}

// vision DIR writes the pocket model with a vision tower into a folder.
func unpackVision(ts *testscript.TestScript, _ bool, args []string) {
	src, err := pockettest.Vision()
	ts.Check(err)
	ts.Check(os.CopyFS(ts.MkAbs(args[0]), src))
}

// checkpoint CASE DIR writes the checkpoint of a recorded case into a folder.
func unpackCase(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range caseBundles() {
		tree, err := bundle(name)
		ts.Check(err)
		c, err := conformance.OpenCase(tree, "convert/"+args[0])
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		ts.Check(err)
		src, err := c.Checkpoint()
		ts.Check(err)
		ts.Check(os.CopyFS(ts.MkAbs(args[1]), src))
		return
	}
	ts.Fatalf("no bundle has a case %s", args[0])
}

// caseBundles are the bundles of whole checkpoints.
var caseBundles = sync.OnceValue(func() []string {
	names, _ := filepath.Glob("../../convert/testdata/*.tar.zst") // the pattern is well formed
	return names
})

var (
	bundlesMu sync.Mutex
	bundles   = map[string]fs.FS{}
)

// bundle opens a bundle once: scripts ask for many cases of the same.
func bundle(name string) (fs.FS, error) {
	bundlesMu.Lock()
	defer bundlesMu.Unlock()
	if bundles[name] == nil {
		tree, err := conformance.OpenBundle(name)
		if err != nil {
			return nil, err
		}
		bundles[name] = tree
	}
	return bundles[name], nil
}

// tokenizer NAME DIR writes one of the small tokenizers of the corpus into a folder.
func unpackTokenizer(ts *testscript.TestScript, _ bool, args []string) {
	src, err := corpus.FS()
	ts.Check(err)
	sub, err := fs.Sub(src, "tokenizers/"+args[0])
	ts.Check(err)
	ts.Check(os.CopyFS(ts.MkAbs(args[1]), sub))
}

// until PATTERN PROGRAM ARGS... runs a program, for half a minute at most, until a line of its output matches; $MATCH is the
// first group. A busy machine measures nothing that is recorded, and a server needs time to start.
func until(ts *testscript.TestScript, _ bool, args []string) {
	re, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if ts.Exec(args[1], args[2:]...) != nil {
			continue
		}
		if m := re.FindStringSubmatch(ts.ReadFile("stdout")); m != nil {
			ts.Setenv("MATCH", m[len(m)-1])
			return
		}
	}
	ts.Fatalf("%v never wrote %s", args[1:], re)
}

// torn does to the records what a kill and a newer quern do: a line of a later version, and half a line without an end.
func tearRecords(ts *testscript.TestScript, _ bool, _ []string) {
	path := filepath.Join(ts.Getenv("XDG_DATA_HOME"), "quern", "records.jsonl")
	b, err := os.ReadFile(path)
	ts.Check(err)
	last := b[bytes.LastIndexByte(bytes.TrimSpace(b), '\n')+1:]
	newer := bytes.Replace(last, []byte(`"record_version":1`), []byte(`"record_version":99`), 1)
	ts.Check(os.WriteFile(path, slices.Concat(b, newer, last[:len(last)/2]), 0o644))
}

// killed AFTER PROGRAM ARGS... kills a program with SIGKILL that long after its start. It may have ended before.
func killed(ts *testscript.TestScript, _ bool, args []string) { signalled(ts, args, os.Kill) }

// interrupted AFTER PROGRAM ARGS... is what Ctrl-C does; the program must end with 130 or have succeeded before.
func interrupted(ts *testscript.TestScript, _ bool, args []string) {
	if code := signalled(ts, args, os.Interrupt); code != 130 && code != 0 {
		ts.Fatalf("exit code %d after an interrupt", code)
	}
}

func signalled(ts *testscript.TestScript, args []string, sig os.Signal) int {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	cmd := program(ts, args[1:])
	ts.Check(cmd.Start())
	time.AfterFunc(d, func() { cmd.Process.Signal(sig) }) //nolint:errcheck // it may have ended
	cmd.Wait()                                            //nolint:errcheck // a signal's end is what is wanted
	return cmd.ProcessState.ExitCode()
}

// program is a command of a script with the script's environment.
func program(ts *testscript.TestScript, args []string) *exec.Cmd {
	cmd := exec.Command(lookProgram(ts, args[0]), args[1:]...)
	cmd.Dir = ts.Getenv("WORK")
	for _, k := range []string{"HOME", "XDG_DATA_HOME", "PATH", "HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_TOKEN", llamacpp.EnvLib, "HF_HUB_DOWNLOAD_TIMEOUT"} {
		cmd.Env = append(cmd.Env, k+"="+ts.Getenv(k))
	}
	return cmd
}

// stopped TEXT PROGRAM ARGS... is Ctrl-C at the first line of standard error with that text, however long it takes to come.
func stopped(ts *testscript.TestScript, _ bool, args []string) {
	cmd := program(ts, args[1:])
	said, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	sc := bufio.NewScanner(said)
	seen := false
	for sc.Scan() {
		if !seen && strings.Contains(sc.Text(), args[0]) {
			seen = true
			cmd.Process.Signal(os.Interrupt) //nolint:errcheck // it may have ended
		}
	}
	cmd.Wait() //nolint:errcheck // its exit code tells
	if code := cmd.ProcessState.ExitCode(); !seen || code != 130 && code != 0 {
		ts.Fatalf("%q was said: %v; exit code %d", args[0], seen, code)
	}
}

// nan FILE TENSOR makes the first weight of an F32 tensor of a GGUF file NaN.
func spoil(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.OpenFile(ts.MkAbs(args[0]), os.O_RDWR, 0)
	ts.Check(err)
	defer f.Close()
	fi, err := f.Stat()
	ts.Check(err)
	g, err := gguf.Read(args[0], f, fi.Size())
	ts.Check(err)
	t, ok := g.Tensor(args[1])
	if !ok || t.Type != gguf.F32 {
		ts.Fatalf("%s is not an F32 tensor", args[1])
	}
	_, err = f.WriteAt([]byte{0, 0, 0xc0, 0x7f}, g.DataOffset+t.Offset)
	ts.Check(err)
}

func exists(p string) bool { _, err := os.Stat(p); return err == nil }

// flip FILE OFFSET inverts a byte.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	off, err := strconv.Atoi(args[1])
	ts.Check(err)
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	b[off] ^= 0xff
	ts.Check(os.Chmod(path, 0o644))
	ts.Check(os.WriteFile(path, b, 0o644))
}

// absent PATTERN... demands that no file matches.
func absent(ts *testscript.TestScript, _ bool, args []string) {
	for _, a := range args {
		found, err := filepath.Glob(ts.MkAbs(a))
		ts.Check(err)
		if len(found) > 0 {
			ts.Fatalf("%v is there", found)
		}
	}
}

// same A B demands equal bytes without showing them.
func same(ts *testscript.TestScript, neg bool, args []string) {
	first := ts.MkAbs(args[0])
	if found, err := filepath.Glob(first); err == nil && len(found) == 1 {
		first = found[0]
	}
	a, err := os.ReadFile(first)
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	if slices.Equal(a, b) == neg {
		ts.Fatalf("%s and %s: %d and %d bytes, equal: %v", args[0], args[1], len(a), len(b), !neg)
	}
}
