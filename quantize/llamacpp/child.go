package llamacpp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// WorkerCommand is how the binary starts itself as a worker: the program and the hidden command.
type WorkerCommand struct {
	Path string   // "" means this binary
	Args []string // such as the hidden command
	Env  []string // added to the environment
	// Stall is the limit of every child that StartOptions set no other for.
	Stall time.Duration
}

// StartOptions are the limits of a child.
type StartOptions struct {
	// Stall is how long a request may pass without a sign of life before the child is stopped; 0 means ten minutes.
	// A sign of life comes with every batch, so the limit has to cover one batch of the slowest machine.
	Stall time.Duration
	Force bool              // use another version of llama.cpp than the pinned one
	Line  func(line string) // each line of the child's log; may be nil
}

const defaultStall = 10 * time.Minute

// Child is a worker process. Its methods may be called from any goroutine; one request runs at a time.
type Child struct {
	System System

	mu     sync.Mutex // one request at a time
	in     *os.File
	frames chan frame
	log    *childLog
	stall  time.Duration
	proc   *os.Process
	gone   chan struct{} // closed when the process was waited for
	state  *os.ProcessState

	left    chan struct{} // closed when nobody will read frames any more
	leave   sync.Once
	stopped sync.Once
	why     Fault // set when this side stopped the child: Hung, or "" for Close and cancellation
	peak    int64 // the child's own peak memory when it said goodbye
}

type frame struct {
	kind byte
	body []byte
	err  error
}

// Start starts a worker and opens the runtime in it. The child never outlives its parent: it ends when its request
// pipe closes, and on Linux the kernel kills it as well.
func Start(ctx context.Context, rt *Runtime, w WorkerCommand, o StartOptions) (*Child, error) {
	c, err := spawn(w, o)
	if err != nil {
		return nil, err
	}
	sys, err := request[System](ctx, c, "open", OpenArgs{Dir: rt.Dir, Force: o.Force}, nil, nil)
	if err != nil {
		c.Close()
		return nil, err
	}
	c.System = *sys
	return c, nil
}

func spawn(w WorkerCommand, o StartOptions) (*Child, error) {
	path := w.Path
	if path == "" {
		exe, err := os.Executable()
		if err != nil {
			return nil, startError(path, err)
		}
		path = exe
	}
	reqR, reqW, err := os.Pipe()
	if err != nil {
		return nil, startError(path, err)
	}
	ansR, ansW, err := os.Pipe()
	if err != nil {
		reqR.Close()
		reqW.Close()
		return nil, startError(path, err)
	}
	c := &Child{in: reqW, frames: make(chan frame, 1), stall: o.Stall, gone: make(chan struct{}), left: make(chan struct{}), log: &childLog{line: o.Line}}
	if c.stall = cmp.Or(c.stall, w.Stall); c.stall <= 0 {
		c.stall = defaultStall
	}
	cmd := exec.Command(path, w.Args...)
	// Without these a failed assertion would start a debugger, and Go would print every goroutine over llama.cpp's words.
	cmd.Env = append(append(os.Environ(), "GGML_NO_BACKTRACE=1", "GOTRACEBACK=none"), w.Env...)
	cmd.ExtraFiles = []*os.File{reqR, ansW}
	cmd.Stdout, cmd.Stderr = c.log, c.log
	cmd.SysProcAttr = childAttributes()
	started := make(chan error)
	go c.run(cmd, started)
	err = <-started
	reqR.Close()
	ansW.Close()
	if err != nil {
		reqW.Close()
		ansR.Close()
		return nil, startError(path, err)
	}
	go c.receive(ansR)
	return c, nil
}

func startError(path string, err error) error {
	return &Error{Fault: Broken, Op: "start worker", On: path, Says: "the process does not start", Next: "check that the binary can be executed and that processes are left", Err: err}
}

// run keeps one thread for the child's life: the kernel's signal at the parent's death is tied to the thread that
// started the child, and Go would be free to end any other thread.
func (c *Child) run(cmd *exec.Cmd, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Start()
	if err == nil {
		c.proc = cmd.Process
	}
	started <- err
	if err != nil {
		return
	}
	cmd.Wait() // its error is in ProcessState
	c.state = cmd.ProcessState
	close(c.gone)
}

func (c *Child) receive(r *os.File) {
	defer r.Close()
	for {
		kind, body, err := ReadFrame(r, nil)
		select {
		case c.frames <- frame{kind, body, err}:
		case <-c.left:
			return
		}
		if err != nil {
			return
		}
	}
}

// stop kills the child once and waits for it.
func (c *Child) stop(why Fault) {
	c.stopped.Do(func() {
		c.why = why
		c.proc.Kill()
	})
	c.drain()
}

// drain lets the answers go and waits for the process.
func (c *Child) drain() {
	c.leave.Do(func() { close(c.left) })
	<-c.gone
}

// closeWait is how long a child may take to free a model before it is killed.
const closeWait = 10 * time.Second

// Close ends the child. It is safe to call more than once and after a fault.
func (c *Child) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.gone:
	default:
		c.in.Close()
		timer := time.AfterFunc(closeWait, func() { c.proc.Kill() })
		c.drain()
		timer.Stop()
	}
	c.in.Close()
	return nil
}

// PeakRSS is the child's peak resident memory in bytes. It is exact while the child lives (Usage) or ended by itself;
// after a kill it is what the kernel accounts, which on Linux may include the parent's size at the start.
func (c *Child) PeakRSS() int64 {
	select {
	case <-c.gone:
	default:
		return c.peak
	}
	if c.peak > 0 {
		return c.peak
	}
	if u, ok := c.state.SysUsage().(*syscall.Rusage); ok {
		return u.Maxrss * rusageUnit
	}
	return 0
}

// Log is the end of what the child wrote.
func (c *Child) Log() []string { return c.log.lines() }

// request sends one operation and waits for its result. floats, if not nil, receives every float frame.
func request[T any](ctx context.Context, c *Child, op string, args any, floats func([]float32) error, progress func(Progress)) (*T, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	raw, err := json.Marshal(args)
	if err != nil {
		return nil, err
	}
	msg, err := json.Marshal(Message{Op: op, Args: raw})
	if err != nil {
		return nil, err
	}
	if err := WriteFrame(c.in, FrameMessage, msg); err != nil {
		if len(msg) > MaxFrame {
			return nil, &Error{Fault: Refused, Op: op, Says: err.Error(), Next: "use a shorter text"}
		}
		c.drain()
		return nil, c.fault(ctx, op)
	}
	var failed error // of floats: the stream is read to its end all the same
	timer := time.NewTimer(c.stall)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			c.stop("")
			return nil, ctx.Err()
		case <-timer.C:
			c.stop(Hung)
			return nil, c.fault(ctx, op)
		case f := <-c.frames:
			timer.Reset(c.stall)
			res, done, err := take[T](c, op, f, floats, progress, &failed)
			if errors.Is(err, errGone) {
				<-c.gone
				return nil, c.fault(ctx, op)
			}
			if done || err != nil {
				return res, errors.Join(err, failed)
			}
		}
	}
}

var errGone = errors.New("the child's answers ended")

func take[T any](c *Child, op string, f frame, floats func([]float32) error, progress func(Progress), failed *error) (*T, bool, error) {
	if f.err != nil {
		if !errors.Is(f.err, io.EOF) && !errors.Is(f.err, io.ErrUnexpectedEOF) && !errors.Is(f.err, os.ErrClosed) {
			c.stop(Protocol)
		}
		return nil, true, errGone
	}
	if f.kind == FrameFloats {
		if floats != nil && *failed == nil {
			*failed = floats(Floats(f.body))
		}
		return nil, false, nil
	}
	var m Message
	if err := json.Unmarshal(f.body, &m); err != nil {
		c.stop(Protocol)
		return nil, true, &Error{Fault: Protocol, Op: op, Says: "the worker's answer is not JSON", Log: c.log.lines(), Err: err}
	}
	switch {
	case m.Failure != nil:
		return nil, true, m.Failure.err()
	case m.Result != nil:
		res := new(T)
		d := json.NewDecoder(bytes.NewReader(m.Result))
		if err := d.Decode(res); err != nil {
			return nil, true, &Error{Fault: Protocol, Op: op, Says: "the worker's answer is not what was asked for", Err: err}
		}
		return res, true, nil
	case m.Progress != nil && progress != nil:
		progress(*m.Progress)
	}
	return nil, false, nil
}

// fault explains the death of the child, whose log ends with llama.cpp's last words.
func (c *Child) fault(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil && c.why == "" {
		return err
	}
	switch c.why {
	case Hung:
		return &Error{Fault: Hung, Op: op, Says: fmt.Sprintf("no progress for %v, the worker was stopped", c.stall), Next: "another program may hold the GPU or the disk; run again with fewer threads or with --cpu", Log: c.log.lines()}
	case Protocol:
		return &Error{Fault: Protocol, Op: op, Says: "the worker wrote what is no frame, and was stopped", Log: c.log.lines()}
	}
	e := explain(c.state, c.log.lines(), c.log.String())
	e.Op = op
	return e
}
