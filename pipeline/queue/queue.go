// Package queue hands work to many machines over NATS JetStream: a work queue with acknowledgement, results that are written once, a
// store for files, and workers that announce what they are. It knows nothing of models: a task has a body that the program understands.
//
//	stream  QUERN_WORK       quern.work.any.<id>, quern.work.on.<machine>.<id>; a task leaves it when it is acknowledged
//	bucket  quern_results    <id> -> result; created once, a second one is refused
//	bucket  quern_workers    <name> -> what a worker is and does; gone when it has been silent
//	objects quern_files      what tasks made, in chunks, each file with its digest
//
// Invariants: a task's id is the digest of all that decides its result, so that equal work has one id and is done once; a result is
// there before its task is acknowledged, so that a task whose worker died at any point is either in the stream or has a result.
package queue

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	workStream    = "QUERN_WORK"
	workSubject   = "quern.work"
	resultsBucket = "quern_results"
	workersBucket = "quern_workers"
	filesBucket   = "quern_files"

	// duplicates is how long the server remembers which tasks were handed in.
	duplicates = time.Hour
	// silence is how long a worker is believed to live after its last word.
	silence = 20 * time.Second
	// maxBody bounds a task's or a result's body; the server refuses more than a message holds.
	maxBody = 512 << 10
)

// Task is a piece of work.
type Task struct {
	ID      string          `json:"id"`                // digest of all that decides the result: letters and digits
	Name    string          `json:"name"`              // for people
	Machine string          `json:"machine,omitempty"` // key of the machine that must do it; empty: any
	Body    json.RawMessage `json:"body"`
}

// Result is what became of a task.
type Result struct {
	ID     string          `json:"id"`
	Name   string          `json:"name"`
	Worker string          `json:"worker"`
	Tries  uint64          `json:"tries"`           // times that the task was handed out
	Fault  string          `json:"fault,omitempty"` // why there is no body: it was given up
	Body   json.RawMessage `json:"body,omitempty"`
}

// Options say how to reach and trust a server.
type Options struct {
	URL   string
	Name  string // of this client, for the server's log
	Token string
	NKey  string // file with the seed of an NKey
	Creds string // file with credentials of a user
	CA    string // file with the certificates that the server's is held against
	Cert  string // files with this client's certificate and key
	Key   string
}

// Error is a failure of the queue or of what it stores.
type Error struct {
	Op   string
	Err  error
	Next string
}

// Error says what failed.
func (e *Error) Error() string { return fmt.Sprintf("queue: %s: %v", e.Op, e.Err) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do.
func (e *Error) Hint() string { return e.Next }

// Queue is a connection. It is safe for concurrent use, and connects again by itself.
type Queue struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	work    jetstream.Stream
	results jetstream.KeyValue
	workers jetstream.KeyValue
	files   jetstream.ObjectStore
}

// Connect reaches the server and makes what is not there yet.
func Connect(ctx context.Context, o Options) (*Queue, error) {
	opts := []nats.Option{nats.Name(o.Name), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond), nats.Timeout(5 * time.Second)}
	if o.Token != "" {
		opts = append(opts, nats.Token(o.Token))
	}
	if o.NKey != "" {
		key, err := nats.NkeyOptionFromSeed(o.NKey)
		if err != nil {
			return nil, &Error{"read the NKey " + o.NKey, err, "the file holds a seed, as `nk -gen user` writes it"}
		}
		opts = append(opts, key)
	}
	if o.Creds != "" {
		opts = append(opts, nats.UserCredentials(o.Creds))
	}
	if o.CA != "" {
		opts = append(opts, nats.RootCAs(o.CA))
	}
	if o.Cert != "" || o.Key != "" {
		opts = append(opts, nats.ClientCert(o.Cert, o.Key))
	}
	if strings.HasPrefix(o.URL, "tls://") {
		opts = append(opts, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12}))
		if o.CA != "" {
			opts = append(opts, nats.RootCAs(o.CA))
		}
	}
	nc, err := dial(ctx, o.URL, opts)
	if err != nil {
		return nil, &Error{"reach " + withoutSecrets(o.URL), err, "`quern queue serve` starts a server on this machine"}
	}
	q := &Queue{nc: nc}
	patient, cancel := context.WithTimeout(ctx, setup)
	defer cancel()
	if err := q.again(patient, "open", q.open); err != nil {
		nc.Close()
		return nil, &Error{"set up " + withoutSecrets(o.URL), err, "the server needs JetStream, and this user the right to make streams"}
	}
	return q, nil
}

const (
	// restart is how long a server may take to come back before it counts as not there.
	restart = 10 * time.Second
	// setup is how long a server that is there may take until its streams answer: it reads them first, and may go once more.
	setup = 30 * time.Second
)

// dial connects, and tries again while the server may be restarting. Refusals of another kind end it at once.
func dial(ctx context.Context, url string, opts []nats.Option) (*nats.Conn, error) {
	for deadline := time.Now().Add(restart); ; {
		nc, err := nats.Connect(url, opts...)
		if !errors.Is(err, nats.ErrNoServers) || time.Now().After(deadline) {
			return nc, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// withoutSecrets takes user and token out of an address.
func withoutSecrets(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		return url
	}
	return scheme + "://" + rest[strings.LastIndexByte(rest, '@')+1:]
}

func (q *Queue) open(ctx context.Context) error {
	var err error
	if q.js, err = jetstream.New(q.nc); err != nil {
		return err
	}
	q.work, err = q.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{Name: workStream, Subjects: []string{workSubject + ".>"},
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Duplicates: duplicates})
	if err != nil {
		return err
	}
	if q.results, err = q.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: resultsBucket, Storage: jetstream.FileStorage}); err != nil {
		return err
	}
	if q.workers, err = q.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: workersBucket, TTL: silence, Storage: jetstream.MemoryStorage}); err != nil {
		return err
	}
	q.files, err = q.js.CreateOrUpdateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: filesBucket, Storage: jetstream.FileStorage})
	return err
}

// Close ends the connection.
func (q *Queue) Close() { q.nc.Close() }

func subject(t Task) string {
	if t.Machine == "" {
		return workSubject + ".any." + t.ID
	}
	return workSubject + ".on." + t.Machine + "." + t.ID
}

// Submit hands a task in, unless it is there already or has a result.
func (q *Queue) Submit(ctx context.Context, t Task) error {
	if len(t.Body) > maxBody {
		return &Error{"hand in " + t.Name, fmt.Errorf("%d bytes are too long for a task, at most %d", len(t.Body), maxBody), ""}
	}
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return q.again(ctx, "hand in "+t.Name, func(ctx context.Context) error {
		if r, err := q.Result(ctx, t.ID); r != nil || err != nil {
			return err
		}
		ack, err := q.js.Publish(ctx, subject(t), b, jetstream.WithMsgID(t.ID))
		if err != nil || !ack.Duplicate {
			return err
		}
		// It was handed in before. Either it waits still, or it has a result; if it has neither, its result was forgotten since.
		if _, err := q.work.GetLastMsgForSubject(ctx, subject(t)); err == nil || !errors.Is(err, jetstream.ErrMsgNotFound) {
			return err
		}
		if r, err := q.Result(ctx, t.ID); r != nil || err != nil {
			return err
		}
		_, err = q.js.Publish(ctx, subject(t), b)
		return err
	})
}

// Result is what became of a task; nil where it is not finished.
func (q *Queue) Result(ctx context.Context, id string) (*Result, error) {
	e, err := q.results.Get(ctx, id)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r Result
	if err := json.Unmarshal(e.Value(), &r); err != nil {
		return nil, &Error{"read the result of " + id, err, ""}
	}
	return &r, nil
}

// Forget takes a result away, so that its task is done again when it is handed in.
func (q *Queue) Forget(ctx context.Context, id string) error {
	return q.again(ctx, "forget "+id, func(ctx context.Context) error { return q.results.Purge(ctx, id) })
}

// Await gives the result of a task, however long it takes; while it waits, the server may go and come back.
func (q *Queue) Await(ctx context.Context, id string) (*Result, error) {
	const look = 200 * time.Millisecond
	for {
		short, cancel := context.WithTimeout(ctx, 5*time.Second)
		r, err := q.Result(short, id)
		cancel()
		if r != nil {
			return r, nil
		}
		var bad *Error
		if errors.As(err, &bad) {
			return nil, err
		}
		if err := sleep(ctx, look); err != nil {
			return nil, err
		}
	}
}

// again repeats an operation while the server is away. What the server refuses is final.
func (q *Queue) again(ctx context.Context, what string, do func(context.Context) error) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		err := do(short)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !away(err) {
			return &Error{what, err, ""}
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// away tells whether an error is one of a server that is not there just now.
func away(err error) bool {
	for _, e := range []error{nats.ErrNoResponders, nats.ErrTimeout, nats.ErrConnectionClosed, nats.ErrDisconnected, nats.ErrConnectionReconnecting,
		nats.ErrNoServers, context.DeadlineExceeded, jetstream.ErrNoStreamResponse, nats.ErrReconnectBufExceeded} {
		if errors.Is(err, e) {
			return true
		}
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && api.Code == 503 && !errors.Is(err, jetstream.ErrJetStreamNotEnabled)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
