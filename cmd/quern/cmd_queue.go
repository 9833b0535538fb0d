package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"quern/pipeline"
	"quern/pipeline/batch/manifest"
	"quern/pipeline/queue"
	"quern/quantize/llamacpp"
	"quern/quantize/machine"
	"quern/stages/set"

	"github.com/urfave/cli/v2"
)

// queueFlags are how a queue is reached and trusted.
func queueFlags() []cli.Flag {
	const cat = "Many machines"
	return []cli.Flag{
		&cli.StringFlag{Name: "queue", Usage: "`URL` of the queue, such as nats://host:4222 or tls://host:4222", EnvVars: []string{"QUERN_QUEUE"}, Category: cat},
		&cli.StringFlag{Name: "share", Usage: "`DIR` that all machines see, for files; without it they go through the queue's own store", Category: cat},
		&cli.StringFlag{Name: "token-file", Usage: "`FILE` with the queue's token (or QUERN_QUEUE_TOKEN)", Category: cat},
		&cli.StringFlag{Name: "nkey", Usage: "`FILE` with the seed of an NKey", Category: cat},
		&cli.StringFlag{Name: "creds", Usage: "`FILE` with a user's credentials", Category: cat},
		&cli.StringFlag{Name: "tls-ca", Usage: "`FILE` with the certificates to trust", Category: cat},
		&cli.StringFlag{Name: "tls-cert", Usage: "`FILE` with this side's certificate", Category: cat},
		&cli.StringFlag{Name: "tls-key", Usage: "`FILE` with its key", Category: cat},
	}
}

// queueToken is a secret: it comes from a file or the environment, and never stands on the command line.
func queueToken(c *cli.Context) (string, error) {
	f := c.String("token-file")
	if f == "" {
		return os.Getenv("QUERN_QUEUE_TOKEN"), nil
	}
	b, err := os.ReadFile(f)
	return strings.TrimSpace(string(b)), err
}

// connect gives the queue, and where files go between machines: a folder that they share, or the queue's own store.
func connect(ctx context.Context, c *cli.Context, name string) (*queue.Queue, queue.Store, error) {
	t, err := queueToken(c)
	if err != nil {
		return nil, nil, err
	}
	q, err := queue.Connect(ctx, queue.Options{URL: c.String("queue"), Name: "quern " + name, Token: t, NKey: c.String("nkey"), Creds: c.String("creds"),
		CA: c.String("tls-ca"), Cert: c.String("tls-cert"), Key: c.String("tls-key")})
	if err != nil {
		return nil, nil, err
	}
	if d := c.String("share"); d != "" {
		return q, queue.Folder(d), nil
	}
	return q, q.Files(), nil
}

func queueCommand() *cli.Command {
	return &cli.Command{
		Name: "queue", Category: groupSetup, Usage: "work for many machines",
		Subcommands: []*cli.Command{
			{
				Name: "serve", Usage: "a queue on this machine (NATS with JetStream), for as long as the command runs",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "listen", Value: "127.0.0.1:4222", Usage: "`ADDRESS`; one beyond this machine needs a token, NKeys or --tls-ca"},
					&cli.StringFlag{Name: "dir", Usage: "`DIR` where tasks, results and files are kept (default: the user data directory)"},
					&cli.StringFlag{Name: "token-file", Usage: "`FILE` with the token that clients must have (or QUERN_QUEUE_TOKEN)"},
					&cli.StringSliceFlag{Name: "nkey", Usage: "public `KEY` of a user that may come in; may be repeated"},
					&cli.StringFlag{Name: "tls-cert", Usage: "`FILE` with the server's certificate"},
					&cli.StringFlag{Name: "tls-key", Usage: "`FILE` with its key"},
					&cli.StringFlag{Name: "tls-ca", Usage: "`FILE`: clients must show a certificate that it signed"},
					&cli.BoolFlag{Name: "insecure", Usage: "let anyone in who reaches the address"},
				},
				Action: action(0, 0, serveQueue),
			},
			{
				Name: "status", Usage: "which workers there are, and what they do",
				Flags: queueFlags(), Action: action(0, 0, queueStatus),
			},
		},
	}
}

// serveQueue runs a server of this machine until it is stopped. What it keeps outlives it.
func serveQueue(ctx context.Context, c *cli.Context, o *output) error {
	t, err := queueToken(c)
	if err != nil {
		return err
	}
	dir := c.String("dir")
	if dir == "" {
		dir = filepath.Join(llamacpp.DataDir(), "queue")
	}
	return queue.Serve{Listen: c.String("listen"), Dir: dir, Token: t, NKeys: c.StringSlice("nkey"), Cert: c.String("tls-cert"), Key: c.String("tls-key"),
		CA: c.String("tls-ca"), Open: c.Bool("insecure"), Ready: func(url string) {
			o.Emit(pipeline.Line{Stage: "queue", Label: "queue", Text: url + " keeps its work in " + dir})
		}}.Run(ctx)
}

// queueStatus lists the workers that gave a sign of life lately, with what they do.
func queueStatus(ctx context.Context, c *cli.Context, o *output) error {
	if err := needsQueue(c); err != nil {
		return err
	}
	q, _, err := connect(ctx, c, "status")
	if err != nil {
		return err
	}
	defer q.Close()
	workers, err := q.Workers(ctx)
	if err != nil {
		return err
	}
	for _, w := range workers {
		o.Emit(pipeline.Result{Type: "worker", Data: w})
		o.printf("%-24s %-28s %s\n", w.Name, w.Says, orElse(w.Task, "waits"))
	}
	o.printf("%d workers\n", len(workers))
	return nil
}

// needsQueue says how one gets a queue, in place of an address that cannot be read.
func needsQueue(c *cli.Context) error {
	if c.String("queue") == "" {
		return usagef("`quern queue serve` starts one", "--queue names none")
	}
	return nil
}

func queueWorkerCommand() *cli.Command {
	flags := []cli.Flag{
		&cli.StringFlag{Name: "dir", Usage: "`DIR` to work in (default: the user data directory)"},
		&cli.StringFlag{Name: "name", Usage: "`NAME` among the workers (default: host and process)"},
		&cli.StringFlag{Name: "as", Usage: "take the work of the machine that `TEXT` describes (default: of the one that this is)"},
		&cli.DurationFlag{Name: "patience", Value: 30 * time.Second, Usage: "`TIME` without a word after which a worker's task goes to another; the same for all workers"},
		&cli.Uint64Flag{Name: "tries", Value: 5, Usage: "`N` workers that may die of a task before it is given up"},
		&cli.DurationFlag{Name: "idle", Usage: "end when there was nothing to do for `TIME`"},
		&cli.IntFlag{Name: "cores", Usage: "`N` cores that work"},
		&cli.BoolFlag{Name: "evict", Usage: "fetch sources into a cache of this worker's own (below --dir, or --cache-dir), and give each back when its entry is done"},
	}
	return &cli.Command{
		Name: "worker", Category: groupSetup, Usage: "do entries of `quern batch --queue` on this machine until it is stopped",
		Flags: join(flags, queueFlags(), hubFlags()[1:]), Action: action(0, 0, work),
	}
}

// unfitForKey is what a name may not have: it is a key of the queue.
var unfitForKey = regexp.MustCompile(`[^a-zA-Z0-9-]+`)

// work takes tasks until it is stopped or idle for long. Its name marks its tasks, so that a worker of the same name that comes
// back finds its folder again.
func work(ctx context.Context, c *cli.Context, o *output) error {
	if err := needsQueue(c); err != nil {
		return err
	}
	m := machine.Detect(ctx, ".")
	if text := c.String("as"); text != "" {
		var err error
		if m, err = machine.For(text); err != nil {
			return err
		}
	}
	w := queue.Worker{Name: c.String("name"), Machine: set.MachineKey(m), Says: fmt.Sprintf("%s, %d GiB", m.Chip, m.Memory>>30)}
	if w.Name == "" {
		host, _ := os.Hostname() //nolint:errcheck // the process tells workers of a nameless host apart
		w.Name = fmt.Sprintf("%s-%d", host, os.Getpid())
	}
	w.Name = unfitForKey.ReplaceAllString(w.Name, "-")
	dir := c.String("dir")
	if dir == "" {
		dir = filepath.Join(llamacpp.DataDir(), "worker", w.Name)
	}
	if c.Bool("evict") && c.String("cache-dir") == "" { // in a shared one another worker may be reading what this one gives back
		if err := c.Set("cache-dir", filepath.Join(dir, "cache")); err != nil {
			return err
		}
	}
	q, store, err := connect(ctx, c, w.Name)
	if err != nil {
		return err
	}
	defer q.Close()
	o.forSet()
	o.Emit(pipeline.Line{Stage: "worker", Label: "worker", Text: fmt.Sprintf("%s on %s waits for work", w.Name, w.Says)})
	return q.Work(ctx, queue.WorkOptions{Worker: w, Patience: c.Duration("patience"), Idle: c.Duration("idle"), Tries: c.Uint64("tries"), On: func(t queue.Task, r *queue.Result, err error) {
		tellTask(o, t, r, err)
		if r != nil && err == nil {
			os.RemoveAll(filepath.Join(dir, t.ID[:min(16, len(t.ID))])) //nolint:errcheck // what was made is in the store
		}
	}}, func(ctx context.Context, t queue.Task) (json.RawMessage, error) {
		return fulfil(ctx, c, o, t, dir, store)
	})
}

// tellTask is a line for the log of a worker. A task that is given back is no failure: another worker takes it.
func tellTask(o *output, t queue.Task, r *queue.Result, err error) {
	text := t.Name + " begins"
	switch {
	case err != nil && !errors.Is(err, context.Canceled):
		text = t.Name + ": " + err.Error()
	case err != nil:
		text = t.Name + " is given back"
	case r != nil && r.Fault != "":
		text = t.Name + ": " + r.Fault
	case r != nil:
		text = t.Name + " is done"
	}
	o.Emit(pipeline.Line{Entry: t.Name, Stage: "worker", Label: "task", Text: text})
}

// fulfil does one task.
func fulfil(ctx context.Context, c *cli.Context, o *output, t queue.Task, dir string, store queue.Store) (json.RawMessage, error) {
	var order set.Order
	if err := json.Unmarshal(t.Body, &order); err != nil {
		return nil, fmt.Errorf("the task %s is not of this version of quern: %w", t.Name, err)
	}
	if order.Quern != quernVersion() || order.Llama != llamacpp.Version {
		return nil, fmt.Errorf("the task %s is for quern %s with llama.cpp %s, this is %s with %s", t.Name, order.Quern, order.Llama, quernVersion(), llamacpp.Version)
	}
	for name, opt := range firstModel(order.Set).Options {
		if kind, ok := modelOptionNames()[name]; !ok || kind != opt.Kind {
			return nil, fmt.Errorf("the task %s has the option %s, which this quern does not know", t.Name, name)
		}
	}
	tools, done, err := batchTools(c, &order.Set)
	if err != nil {
		return nil, err
	}
	defer done()
	opts, err := batchOptions(c, &order.Set)
	if err != nil {
		return nil, err
	}
	opts.Dir = dir
	a, err := order.Do(ctx, tools, opts, store, o)
	if err != nil {
		return nil, err
	}
	return json.Marshal(a)
}

// firstModel is the one model of a task: an order holds a single entry.
func firstModel(s manifest.Set) *manifest.Model {
	if len(s.Models) == 0 {
		return &manifest.Model{}
	}
	return &s.Models[0]
}
