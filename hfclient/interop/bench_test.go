package interop

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sync/errgroup"

	"quern/hfclient"
	"quern/hfclient/hubtest"
)

const (
	roleVar    = "QUERN_INTEROP_ROLE" // makes the test binary a Hub or a client, so that each has a process of its own
	benchDir   = "QUERN_BENCH_DIR"    // where caches are made; default: the temporary folder
	benchFiles = 4
	benchSize  = 512 << 20 // bytes of each file
)

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(roleVar) {
	case "hub":
		err = serveBench()
	case "pull":
		err = pullBench()
	case "hash":
		err = hashBench()
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveBench is a Hub with a repo of 2 GB until its input ends.
func serveBench() error {
	hub := hubtest.New()
	defer hub.Close()
	repo := hub.Add("acme/big", fstest.MapFS{"config.json": {Data: []byte("{}")}})
	for i := range benchFiles {
		repo.PutNoise(benchName(i), benchSize, uint64(i))
	}
	fmt.Println(hub.URL())
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func benchName(i int) string {
	return fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, benchFiles)
}

func pullBench() error {
	c, err := hfclient.New(hfclient.FromEnvironment(os.LookupEnv))
	if err != nil {
		return err
	}
	_, err = c.Pull(context.Background(), hfclient.Request{Repo: "acme/big", All: true, Progress: func(hfclient.Progress) {}})
	return err
}

// hashBench is hashing at full speed: one file per core, with the machine's own instructions.
func hashBench() error {
	var g errgroup.Group
	g.SetLimit(runtime.NumCPU())
	for i := range benchFiles {
		g.Go(func() error {
			f, err := os.Open(benchName(i))
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = io.CopyBuffer(struct{ io.Writer }{sha256.New()}, struct{ io.Reader }{f}, make([]byte, 1<<20))
			return err
		})
	}
	return g.Wait()
}

// BenchmarkPull downloads 2 GB over loopback into an empty cache: ours, `hf download`, and curl, alone and with the
// files synced, hashed by sha256sum, or hashed at full speed after it. It reports wall time, CPU seconds of the client and its peak resident memory.
//
//	QUERN_INTEROP_PYTHON=…/bin/python go test -run - -bench Pull -benchtime 3x ./hfclient/interop
func BenchmarkPull(b *testing.B) {
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	server := exec.Command(exe)
	server.Env = append(os.Environ(), roleVar+"=hub")
	in, err := server.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := server.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	defer func() { _ = in.Close(); _ = server.Wait() }()
	url, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	url = strings.TrimSpace(url)

	b.Run("quern", func(b *testing.B) {
		measure(b, func(home string) *exec.Cmd {
			cmd := exec.Command(exe)
			cmd.Env = append(os.Environ(), roleVar+"=pull", "HF_ENDPOINT="+url, "HF_HOME="+home, "HF_TOKEN=")
			return cmd
		})
	})
	b.Run("hf", func(b *testing.B) {
		python := os.Getenv(pythonVar)
		if python == "" {
			b.Skipf("%s does not name a Python with huggingface_hub 0.36", pythonVar)
		}
		measure(b, func(home string) *exec.Cmd {
			cmd := exec.Command(filepath.Join(filepath.Dir(python), "hf"), "download", "acme/big")
			cmd.Env = append(os.Environ(), "HF_ENDPOINT="+url, "HF_HOME="+home, "HF_HUB_DISABLE_PROGRESS_BARS=1", "HF_HUB_DISABLE_TELEMETRY=1")
			return cmd
		})
	})
	for _, step := range [][2]string{
		{"curl", "true"}, {"curl+sync", "sync -d *.safetensors"}, {"curl+sha256sum", "sha256sum *.safetensors"},
		{"curl+hash", roleVar + "=hash '" + exe + "'"}, {"curl+hash+sync", roleVar + "=hash '" + exe + "' && sync -d *.safetensors"},
	} {
		name, after := step[0], step[1]
		b.Run(name, func(b *testing.B) {
			measure(b, func(home string) *exec.Cmd {
				args := []string{"curl", "-sfL", "--no-progress-meter", "--parallel"}
				for i := range benchFiles {
					args = append(args, "-o", benchName(i), url+"/acme/big/resolve/main/"+benchName(i))
				}
				cmd := exec.Command("sh", "-c", strings.Join(args, " ")+" && "+after)
				cmd.Dir = home
				return cmd
			})
		})
	}
}

// measure runs a client once per iteration, each time in an empty folder.
func measure(b *testing.B, client func(home string) *exec.Cmd) {
	var cpu time.Duration
	var peak int64
	b.SetBytes(benchFiles * benchSize)
	for range b.N {
		b.StopTimer()
		home, err := os.MkdirTemp(os.Getenv(benchDir), "bench")
		if err != nil {
			b.Fatal(err)
		}
		cmd := client(home)
		b.StartTimer()
		err = cmd.Run()
		b.StopTimer()
		if err != nil {
			b.Fatal(err)
		}
		cpu += cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
		if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
			kib := u.Maxrss
			if runtime.GOOS == "darwin" { // counts bytes there
				kib /= 1024
			}
			peak = max(peak, kib)
		}
		if err := os.RemoveAll(home); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(cpu.Seconds()/float64(b.N), "cpu-s/op")
	b.ReportMetric(float64(peak)/1024, "peak-MB")
}
