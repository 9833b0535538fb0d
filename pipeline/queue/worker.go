package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Worker is what a worker says of itself.
type Worker struct {
	Name    string    `json:"name"`    // unique: letters, digits, hyphens
	Machine string    `json:"machine"` // key of the machine that it is
	Says    string    `json:"says"`    // the machine for people
	Task    string    `json:"task,omitempty"`
	Since   time.Time `json:"since"`
}

// WorkOptions of a worker.
type WorkOptions struct {
	Worker Worker
	// Patience is how long the server waits for a word of a worker before it hands the task to another one. It is the queue's:
	// all workers give the same. 0: 30 seconds.
	Patience time.Duration
	// Tries is how often a task is handed out before it is given up. 0: 5.
	Tries uint64
	// Idle ends the worker when there was nothing to do for that long; 0: never.
	Idle time.Duration
	On   func(Task, *Result, error) // a task starts (nil, nil), ends, or failed to be reported; may be nil
}

// Work does tasks until the context ends: those for this machine first, then those for any. do gives the result's body; an error that
// it returns because the context ended hands the task back, any other gives it up.
func (q *Queue) Work(ctx context.Context, o WorkOptions, do func(context.Context, Task) (json.RawMessage, error)) error {
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	if o.Tries == 0 {
		o.Tries = 5
	}
	if o.On == nil {
		o.On = func(Task, *Result, error) {}
	}
	w := &working{q: q, o: o, do: do, task: make(chan string, 1)}
	if err := w.open(ctx); err != nil {
		return err
	}
	ctx2, stop := context.WithCancel(ctx)
	defer stop()
	go w.announce(ctx2)
	last := time.Now()
	for ctx.Err() == nil {
		msg, err := w.next(ctx)
		switch {
		case err != nil && ctx.Err() == nil:
			return err
		case msg != nil:
			w.handle(ctx, msg)
			last = time.Now()
		case o.Idle > 0 && time.Since(last) > o.Idle:
			return nil
		}
	}
	return ctx.Err()
}

type working struct {
	q    *Queue
	o    WorkOptions
	do   func(context.Context, Task) (json.RawMessage, error)
	from []jetstream.Consumer // of this machine, of any
	task chan string          // what is done now, for the announcement
}

func (w *working) open(ctx context.Context) error {
	filters := map[string]string{"any": workSubject + ".any.*"}
	order := []string{"any"}
	if m := w.o.Worker.Machine; m != "" {
		filters["on-"+m] = workSubject + ".on." + m + ".*"
		order = []string{"on-" + m, "any"}
	}
	for _, name := range order {
		err := w.q.again(ctx, "wait for tasks", func(ctx context.Context) error {
			c, err := w.q.work.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{Durable: name, FilterSubject: filters[name],
				AckPolicy: jetstream.AckExplicitPolicy, AckWait: w.o.Patience, MaxDeliver: -1, MaxAckPending: 10_000})
			if err == nil {
				w.from = append(w.from, c)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// next waits up to a second for a task.
func (w *working) next(ctx context.Context) (jetstream.Msg, error) {
	for i, c := range w.from {
		fetch := func() (jetstream.MessageBatch, error) { return c.FetchNoWait(1) }
		if i == len(w.from)-1 {
			fetch = func() (jetstream.MessageBatch, error) { return c.Fetch(1, jetstream.FetchMaxWait(time.Second)) }
		}
		batch, err := fetch()
		if err != nil {
			return nil, sleep(ctx, 250*time.Millisecond) // the server is away
		}
		for msg := range batch.Messages() {
			return msg, nil
		}
		if batch.Error() != nil {
			return nil, sleep(ctx, 250*time.Millisecond)
		}
	}
	return nil, nil
}

// announce says every few seconds that the worker is there.
func (w *working) announce(ctx context.Context) {
	me := w.o.Worker
	me.Since = time.Now().UTC().Truncate(time.Second)
	tick := time.NewTicker(silence / 4)
	defer tick.Stop()
	for {
		if b, err := json.Marshal(me); err == nil {
			w.q.workers.Put(ctx, me.Name, b) //nolint:errcheck // the next one may arrive
		}
		select {
		case me.Task = <-w.task:
		case <-tick.C:
		case <-ctx.Done():
			short, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			w.q.workers.Delete(short, me.Name) //nolint:errcheck // silence says the same a little later
			cancel()
			return
		}
	}
}

func (w *working) says(task string) {
	select {
	case <-w.task:
	default:
	}
	select {
	case w.task <- task:
	default:
	}
}

// handle does one task: its result is written before it is acknowledged.
func (w *working) handle(ctx context.Context, msg jetstream.Msg) {
	var t Task
	if err := json.Unmarshal(msg.Data(), &t); err != nil || t.ID == "" {
		msg.Term() //nolint:errcheck // it is no task, and comes again until this arrives
		return
	}
	tries := uint64(1)
	if m, err := msg.Metadata(); err == nil {
		tries = m.NumDelivered
	}
	r := &Result{ID: t.ID, Name: t.Name, Worker: w.o.Worker.Name, Tries: tries}
	if done, err := w.q.Result(ctx, t.ID); err == nil && done != nil {
		w.acknowledge(ctx, msg)
		return
	}
	w.o.On(t, nil, nil)
	w.says(t.Name)
	defer w.says("")
	if tries > w.o.Tries {
		r.Fault = fmt.Sprintf("given up: %d workers began it and none ended it", tries-1)
	} else {
		alive, stop := context.WithCancel(ctx)
		go w.keep(alive, msg)
		body, err := w.do(ctx, t)
		stop()
		switch {
		case ctx.Err() != nil:
			msg.Nak() //nolint:errcheck // patience ends the same way, later
			w.o.On(t, nil, ctx.Err())
			return
		case err != nil:
			r.Fault = err.Error()
		case len(body) > maxBody:
			r.Fault = fmt.Sprintf("its result has %d bytes, at most %d can be handed back", len(body), maxBody)
		default:
			r.Body = body
		}
	}
	err := w.q.report(ctx, r)
	if err == nil {
		w.acknowledge(ctx, msg)
	}
	w.o.On(t, r, err)
}

// keep tells the server that the worker lives.
func (w *working) keep(ctx context.Context, msg jetstream.Msg) {
	tick := time.NewTicker(w.o.Patience / 4)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			msg.InProgress() //nolint:errcheck // the next one may arrive
		case <-ctx.Done():
			return
		}
	}
}

// report writes a result, once: that of another worker stands.
func (q *Queue) report(ctx context.Context, r *Result) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return q.again(ctx, "report "+r.Name, func(ctx context.Context) error {
		_, err := q.results.Create(ctx, r.ID, b)
		if errors.Is(err, jetstream.ErrKeyExists) {
			return nil
		}
		return err
	})
}

// acknowledge takes the task out of the queue. Where that does not arrive the task comes again, and is found done.
func (w *working) acknowledge(ctx context.Context, msg jetstream.Msg) {
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	msg.DoubleAck(short) //nolint:errcheck // as said
}

// Workers are those that were heard of lately.
func (q *Queue) Workers(ctx context.Context) ([]Worker, error) {
	keys, err := q.workers.Keys(ctx)
	if errors.Is(err, jetstream.ErrNoKeysFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Worker
	for _, k := range keys {
		e, err := q.workers.Get(ctx, k)
		if err != nil {
			continue // it went meanwhile
		}
		var w Worker
		if json.Unmarshal(e.Value(), &w) == nil {
			all = append(all, w)
		}
	}
	return all, nil
}
