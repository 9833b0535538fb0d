// Command quern mills Hugging Face checkpoints into GGUF files that fit the machine in front of you.
//
// Rules of the interface, kept by every command:
//   - results go to standard output, everything else to standard error;
//   - --json writes one JSON object a line to standard output, in the form that `quern schema events` prints;
//   - options stand before or after the arguments; an unknown one is an error wherever it stands;
//   - nothing is ever asked: no prompt;
//   - every error is a line "quern: error: ..." and, where there is a next step, a line "quern: hint: ...";
//   - exit codes come from the table in exit.go and from nowhere else.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// main ties the program to its process: signals, arguments, exit code.
func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { // a second signal ends the program at once
		<-ctx.Done()
		stop()
	}()
	os.Exit(run(ctx, os.Args))
}

// run is the whole program but for the process: it gives the exit code.
func run(ctx context.Context, args []string) int {
	app := newApp()
	ordered, err := reorder(app, args)
	if err == nil {
		err = app.RunContext(ctx, ordered)
	}
	if err == nil {
		return 0
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = &cancelled{err}
	}
	complain(args, err)
	return exitCode(err)
}

// complain writes what failed, what a program that it ran last said, and what to do next; for --json the error as an event.
func complain(args []string, err error) {
	for _, line := range detailOf(err) {
		fmt.Fprintln(os.Stderr, "quern: log: "+line)
	}
	fmt.Fprintln(os.Stderr, "quern: error: "+errorText(err))
	hint := hintOf(err)
	if hint != "" {
		fmt.Fprintln(os.Stderr, "quern: hint: "+hint)
	}
	if wantsJSON(args) {
		writeJSON(os.Stdout, "error", errorEvent{Code: exitCode(err), Says: errorText(err), Hint: hint, Log: detailOf(err)})
	}
}

// cancelled marks a run that the user stopped.
type cancelled struct{ err error }

func (c *cancelled) Error() string { return "cancelled" }
func (c *cancelled) Unwrap() error { return c.err }
func (c *cancelled) Hint() string {
	return "run the same command again: it continues from what is proven good"
}
