// Package worker is the inside of a llama.cpp child process: it calls the libraries (package capi) and answers the
// requests of llamacpp.Child, one at a time.
//
// Numbers that would be large are reduced here: perplexity, divergence and importance sums are accumulated next to the
// logits and activations, so that only results cross the pipe. Nothing here may print to standard output.
package worker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"quern/quantize/llamacpp"
	"quern/quantize/llamacpp/capi"
)

// The file descriptors that llamacpp.Start hands to its child.
const (
	requestFD = 3
	answerFD  = 4
)

// Main serves the parent that started this process until it closes its end or dies. The hidden command calls it and
// exits when it returns, also while a request is still running inside llama.cpp.
func Main(ctx context.Context) error {
	in, out := os.NewFile(requestFD, "requests"), os.NewFile(answerFD, "answers")
	if in == nil || out == nil {
		return errors.New("worker: this command is started by quern itself")
	}
	if _, err := in.Stat(); err != nil {
		return errors.New("worker: this command is started by quern itself")
	}
	if runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2) // without an idle one Go's scheduler takes the processor away from every call
	}
	return Serve(ctx, in, out)
}

// Serve answers the requests that come in. It returns when in ends, without waiting for a running request.
func Serve(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	requests := make(chan llamacpp.Message)
	ended := make(chan error, 1)
	go func() { ended <- receive(ctx, in, requests) }()
	finished := make(chan error, 1)
	go func() {
		// One thread makes all calls: ggml's pool keeps its workers in step with the thread that evaluates, and two
		// threads lose half of the speed where that one changes with every call.
		runtime.LockOSThread()
		s := &session{out: out}
		for m := range requests {
			if err := s.answer(m); err != nil {
				finished <- err
				return
			}
		}
		s.close()
		finished <- nil
	}()
	select {
	case err := <-ended:
		if errors.Is(err, errBetween) {
			return <-finished // idle: free the models in order
		}
		if errors.Is(err, io.EOF) {
			return nil // the parent is gone: nobody waits for the running request
		}
		return err
	case err := <-finished:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errBetween says that the requests ended while none was running.
var errBetween = errors.New("requests ended")

// receive hands requests to the session one by one. At the end of the pipe it tells an idle session, which frees its
// models, from a busy one, which nobody waits for any more: the channel has no buffer, so only an idle session can take
// the empty message.
func receive(ctx context.Context, in io.Reader, requests chan<- llamacpp.Message) error {
	r := bufio.NewReader(in)
	for {
		kind, body, err := llamacpp.ReadFrame(r, nil)
		if errors.Is(err, io.EOF) {
			select {
			case requests <- llamacpp.Message{}: // taken at once only by an idle session
				close(requests)
				return errBetween
			default:
				return io.EOF
			}
		}
		if err != nil {
			return err
		}
		var m llamacpp.Message
		if kind != llamacpp.FrameMessage {
			return fmt.Errorf("worker: request of kind %q", kind)
		}
		if err := json.Unmarshal(body, &m); err != nil {
			return fmt.Errorf("worker: request is not JSON: %w", err)
		}
		select {
		case requests <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// session is the state of one worker: the libraries and the models in their slots.
type session struct {
	out    io.Writer
	lib    *capi.Library
	dir    string // of the libraries
	log    logBook
	models []*model

	multimodal   *capi.Multimodal // nil: not loaded yet
	whileLoading uintptr          // C callback of loading progress
	seen         int              // its last step, in hundredths

	breathed time.Time // when the scheduler was last given a word in
}

// operation runs one request. A returned error is a Failure for the parent; only a broken pipe ends the session.
type operation func(s *session, args json.RawMessage) (any, error)

// operations are all that a parent can ask for; the names are those of llamacpp.Child's methods.
var operations = map[string]operation{
	"open":       decode((*session).open),
	"load":       decode((*session).load),
	"unload":     decode((*session).unload),
	"tokenize":   decode((*session).tokenize),
	"detokenize": decode((*session).detokenize),
	"prompt":     decode((*session).prompt),
	"generate":   decode((*session).generate),
	"logits":     decode((*session).logits),
	"perplexity": decode((*session).perplexity),
	"divergence": decode((*session).divergence),
	"bench":      decode((*session).bench),
	"embed":      decode((*session).embed),
	"imatrix":    decode((*session).imatrix),
	"usage":      decode((*session).usage),
	"adapt":      decode((*session).adapt),
	"project":    decode((*session).project),
	"perceive":   decode((*session).perceive),
}

// decode makes an operation out of a method with arguments of its own type.
func decode[A any](run func(*session, A) (any, error)) operation {
	return func(s *session, raw json.RawMessage) (any, error) {
		var args A
		if err := json.Unmarshal(raw, &args); err != nil {
			return nil, fmt.Errorf("arguments: %w", err)
		}
		return run(s, args)
	}
}

// answer runs one request and sends its result or failure. Its error is the pipe's: whatever llama.cpp says is the
// parent's to judge.
func (s *session) answer(m llamacpp.Message) error {
	if m.Op == "" {
		return nil
	}
	run, ok := operations[m.Op]
	if !ok {
		return s.fail(m.Op, errors.New("no such operation"))
	}
	if s.lib == nil && m.Op != "open" {
		return s.fail(m.Op, errors.New("the session is not open"))
	}
	s.log.mark()
	res, err := run(s, m.Args)
	if err != nil {
		return s.fail(m.Op, err)
	}
	if res == nil {
		res = struct{}{}
	}
	raw, err := json.Marshal(res)
	if err != nil {
		return s.fail(m.Op, err)
	}
	return s.send(llamacpp.Message{Result: raw})
}

// fail keeps the kind of a typed error across the pipe; any other error is a refusal.
func (s *session) fail(op string, err error) error {
	f := &llamacpp.Failure{Fault: llamacpp.Refused, Op: op, Says: err.Error(), Log: s.log.last()}
	var e *llamacpp.Error
	if errors.As(err, &e) {
		f = &llamacpp.Failure{Fault: e.Fault, Op: e.Op, On: e.On, Says: e.Says, Next: e.Next, Log: s.log.last()}
		if e.Err != nil {
			f.Says += ": " + e.Err.Error()
		}
	}
	return s.send(llamacpp.Message{Failure: f})
}

func (s *session) send(m llamacpp.Message) error {
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return llamacpp.WriteFrame(s.out, llamacpp.FrameMessage, b)
}

// progress is the sign of life that the parent's watchdog waits for. A broken pipe shows at the next answer.
func (s *session) progress(done, total int) {
	_ = s.send(llamacpp.Message{Progress: &llamacpp.Progress{Done: int64(done), Total: int64(total)}})
}

// floats sends values in frames of bounded size.
func (s *session) floats(v []float32) error {
	const most = 1 << 20
	for {
		n := min(len(v), most)
		if err := llamacpp.WriteFrame(s.out, llamacpp.FrameFloats, llamacpp.FloatBytes(v[:n])); err != nil {
			return err
		}
		if v = v[n:]; len(v) == 0 {
			return nil
		}
	}
}

// close frees the models in order, so that backends with memory of their own give it back before the process ends.
func (s *session) close() {
	for _, m := range s.models {
		m.free()
	}
}
