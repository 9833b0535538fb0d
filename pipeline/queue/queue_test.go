package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// serve runs a server until stop is called; it keeps its streams in dir.
func serve(t *testing.T, s Serve) (url string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	s.Ready = func(u string) { ready <- u }
	go func() { ended <- s.Run(ctx) }()
	select {
	case url = <-ready:
	case err := <-ended:
		cancel()
		t.Fatal(err)
	}
	var once sync.Once
	stop = func() { once.Do(func() { cancel(); <-ended }) }
	t.Cleanup(stop)
	return url, stop
}

func connect(t *testing.T, o Options) *Queue {
	t.Helper()
	q, err := Connect(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(q.Close)
	return q
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// Each task is done once and its result is there, while workers die with tasks in hand, a task that kills every worker is given up,
// and the server goes and comes back.
func TestWork(t *testing.T) {
	dir, listen := t.TempDir(), freePort(t)
	url, stop := serve(t, Serve{Listen: listen, Dir: dir})
	q := connect(t, Options{URL: url})
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute) // of a machine that does much else
	defer cancel()
	var ids []string
	for i := range 12 {
		task := Task{ID: fmt.Sprintf("t%02d", i), Name: fmt.Sprint("task ", i), Body: json.RawMessage(`{}`)}
		if i == 3 {
			task.Machine = "apple-m3-18gb"
		}
		ids = append(ids, task.ID)
		for range 2 { // handed in twice, done once
			if err := q.Submit(ctx, task); err != nil {
				t.Fatal(err)
			}
		}
	}
	var mu sync.Mutex
	done := map[string]int{}
	work := func(name, machine string, ends int) {
		mine, die := context.WithCancel(ctx)
		defer die()
		n := 0
		c, err := Connect(mine, Options{URL: url, Name: name})
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		c.Work(mine, WorkOptions{Worker: Worker{Name: name, Machine: machine}, Patience: 400 * time.Millisecond, Tries: 3}, func(ctx context.Context, task Task) (json.RawMessage, error) { //nolint:errcheck // it ends by its context
			if n++; n > ends {
				c.nc.Close() // dies without a word
				die()
				return nil, ctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			done[task.ID]++
			if task.Machine != "" && machine != task.Machine {
				t.Errorf("%s was given to %q", task.ID, machine)
			}
			return json.RawMessage(`{"by":"` + name + `"}`), nil
		})
	}
	for i, ends := range []int{1, 2, 1000, 1000} {
		machine := ""
		if i == 3 {
			machine = "apple-m3-18gb"
		}
		go work(fmt.Sprint("w", i), machine, ends)
	}
	if _, err := q.Await(ctx, ids[0]); err != nil {
		t.Fatal(err)
	}
	stop()
	time.Sleep(300 * time.Millisecond)
	serve(t, Serve{Listen: listen, Dir: dir})
	for _, id := range ids {
		r, err := q.Await(ctx, id)
		if err != nil || r.Fault != "" || len(r.Body) == 0 {
			t.Fatalf("%s: %+v, %v", id, r, err)
		}
	}
	for _, id := range ids { // a worker that was thought dead comes late: what is there stands
		before, err := q.Result(ctx, id)
		if err != nil || q.report(ctx, &Result{ID: id, Fault: "late"}) != nil {
			t.Fatal(err)
		}
		if after, err := q.Result(ctx, id); err != nil || string(after.Body) != string(before.Body) || after.Fault != "" {
			t.Errorf("%s: %+v became %+v, %v", id, before, after, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(done) != len(ids) {
		t.Errorf("done: %v", done)
	}
	t.Logf("count: queue: %d tasks, 2 workers died, the server restarted, each has one result", len(ids))
}

// A task that takes longer than patience stays with its worker, who says that it lives.
func TestPatience(t *testing.T) {
	url, _ := serve(t, Serve{Listen: "127.0.0.1:0", Dir: t.TempDir()})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var mu sync.Mutex
	begun := 0
	for i := range 2 {
		c := connect(t, Options{URL: url})
		go c.Work(ctx, WorkOptions{Worker: Worker{Name: fmt.Sprint("w", i)}, Patience: time.Second}, func(context.Context, Task) (json.RawMessage, error) { //nolint:errcheck // it ends by its context
			mu.Lock()
			begun++
			mu.Unlock()
			time.Sleep(1600 * time.Millisecond)
			return json.RawMessage(`1`), nil
		})
	}
	q := connect(t, Options{URL: url})
	if err := q.Submit(ctx, Task{ID: "slow", Name: "slow", Body: json.RawMessage(`1`)}); err != nil {
		t.Fatal(err)
	}
	r, err := q.Await(ctx, "slow")
	mu.Lock()
	defer mu.Unlock()
	if err != nil || r.Tries != 1 || begun != 1 {
		t.Errorf("%+v, %v, begun %d times", r, err, begun)
	}
}

// A task that no worker survives is given up; a result that was forgotten is made again.
func TestGivenUpAndForgotten(t *testing.T) {
	url, _ := serve(t, Serve{Listen: "127.0.0.1:0", Dir: t.TempDir()})
	q := connect(t, Options{URL: url})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	bad := Task{ID: "bad", Name: "bad", Body: json.RawMessage(`1`)}
	good := Task{ID: "good", Name: "good", Body: json.RawMessage(`2`)}
	for _, task := range []Task{bad, good} {
		if err := q.Submit(ctx, task); err != nil {
			t.Fatal(err)
		}
	}
	runs := 0
	go func() {
		for ctx.Err() == nil {
			mine, die := context.WithCancel(ctx)
			c, err := Connect(mine, Options{URL: url})
			if err != nil {
				die()
				return
			}
			c.Work(mine, WorkOptions{Worker: Worker{Name: "w", Machine: "m"}, Patience: 200 * time.Millisecond, Tries: 2}, func(ctx context.Context, task Task) (json.RawMessage, error) { //nolint:errcheck // as above
				if task.ID == "bad" {
					c.nc.Close()
					die()
					return nil, ctx.Err()
				}
				runs++
				return json.RawMessage(fmt.Sprint(runs)), nil
			})
			c.Close()
			die()
		}
	}()
	if r, err := q.Await(ctx, "bad"); err != nil || !strings.Contains(r.Fault, "given up: 2 workers") {
		t.Errorf("%+v, %v", r, err)
	}
	for want := 1; want <= 2; want++ {
		if err := q.Submit(ctx, good); err != nil {
			t.Fatal(err)
		}
		if r, err := q.Await(ctx, "good"); err != nil || string(r.Body) != fmt.Sprint(want) {
			t.Errorf("%+v, %v, want %d", r, err, want)
		}
		if err := q.Forget(ctx, "good"); err != nil {
			t.Fatal(err)
		}
	}
	if ws, err := q.Workers(ctx); err != nil || len(ws) != 1 || ws[0].Machine != "m" {
		t.Errorf("%v, %v", ws, err)
	}
}

// Files arrive whole under their names, by either store.
func TestStores(t *testing.T) {
	url, _ := serve(t, Serve{Listen: "127.0.0.1:0", Dir: t.TempDir()})
	q := connect(t, Options{URL: url})
	ctx := context.Background()
	from := filepath.Join(t.TempDir(), "from")
	data := []byte(strings.Repeat("weights ", 100_000))
	if err := os.WriteFile(from, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]Store{"objects": q.Files(), "folder": Folder(t.TempDir())} {
		if err := s.Put(ctx, "task/a.gguf", from); err != nil {
			t.Fatal(name, err)
		}
		to := filepath.Join(t.TempDir(), "sub", "a.gguf")
		if err := s.Fetch(ctx, "task/a.gguf", to); err != nil {
			t.Fatal(name, err)
		}
		if got, err := os.ReadFile(to); err != nil || string(got) != string(data) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		for range 2 {
			if err := s.Delete(ctx, "task/a.gguf"); err != nil {
				t.Error(name, err)
			}
		}
		if s.Fetch(ctx, "task/a.gguf", to+"2") == nil {
			t.Errorf("%s: a deleted file was found", name)
		}
		if entries, err := os.ReadDir(filepath.Dir(to)); err != nil || len(entries) != 1 {
			t.Errorf("%s: %v, %v", name, entries, err)
		}
	}
	if (Folder(t.TempDir())).Put(ctx, "../x", from) == nil {
		t.Error("a name that leaves the folder was accepted")
	}
}

// Who has no token stays out, secrets stand in no message, and nothing listens beyond this machine without being told who may come in.
func TestTrust(t *testing.T) {
	url, _ := serve(t, Serve{Listen: "127.0.0.1:0", Dir: t.TempDir(), Token: "s3cret"})
	for _, o := range []Options{{URL: url}, {URL: url, Token: "other"}, {URL: strings.Replace(url, "://", "://user:wrong@", 1)}} {
		_, err := Connect(context.Background(), o)
		var e *Error
		if !errors.As(err, &e) || e.Hint() == "" || strings.Contains(err.Error(), "wrong@") {
			t.Errorf("%+v: %v", o, err)
		}
	}
	connect(t, Options{URL: url, Token: "s3cret"})
	var open *OpenError
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0"} {
		if _, err := (Serve{Listen: listen, Dir: t.TempDir()}).options(); !errors.As(err, &open) || open.Hint() == "" {
			t.Errorf("%s: %v", listen, err)
		}
	}
	for _, s := range []Serve{{Listen: "0.0.0.0:0", Token: "x"}, {Listen: "0.0.0.0:0", Open: true}, {Listen: "localhost:0"}, {Listen: "[::1]:0"}} {
		s.Dir = t.TempDir()
		if _, err := s.options(); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
}
