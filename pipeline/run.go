package pipeline

import (
	"context"
	"fmt"
	"time"
)

// Options of a run.
type Options struct {
	DryRun bool    // plan every stage, run only those that read
	Ledger *Ledger // nil: nothing is proven and nothing is kept
}

// StageError says in which stage a run failed.
type StageError struct {
	Stage string
	Err   error
}

// Error is the cause; the command puts the stage's name before it.
func (e *StageError) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *StageError) Unwrap() error { return e.Err }

// Run carries out the stages in their order and stops at the first that fails, with a *StageError.
func Run[S any](ctx context.Context, stages []Stage[S], s *S, ev Events, o Options) error {
	for _, st := range stages {
		if err := ctx.Err(); err != nil {
			return &StageError{st.Name(), err}
		}
		start := time.Now()
		state, says, err := runStage(ctx, st, s, ev, o)
		if err != nil {
			state, says = Failed, err.Error()
		}
		d := time.Since(start)
		ev.Emit(Finished{Stage: st.Name(), State: state, Says: says, Elapsed: d, Seconds: d.Seconds()})
		if err != nil {
			return &StageError{st.Name(), err}
		}
	}
	return nil
}

func runStage[S any](ctx context.Context, st Stage[S], s *S, ev Events, o Options) (State, string, error) {
	if why := skip(st, s); why != "" {
		return Skipped, why, nil
	}
	step, err := st.Plan(ctx, s)
	if err != nil {
		return Failed, "", err
	}
	_, looks := st.(Looker)
	if o.DryRun && !looks {
		return Planned, step.Says, nil
	}
	why, proven := recall(st, s, step, o.Ledger)
	if proven {
		return Proven, "nothing that it depends on has changed", nil
	}
	ev.Emit(Started{Stage: st.Name(), Says: step.Says, Why: why})
	if err := st.Run(ctx, s, ev); err != nil {
		return Failed, "", err
	}
	if err := remember(st, s, step, o.Ledger); err != nil {
		return Failed, "", fmt.Errorf("ledger: %w", err)
	}
	return OK, "", nil
}

func skip[S any](st Stage[S], s *S) string {
	if k, ok := st.(Skipper[S]); ok {
		return k.Skip(s)
	}
	return ""
}

// recall tells whether an earlier run proved the step, and if so puts its result into the state; otherwise why it did not.
func recall[S any](st Stage[S], s *S, step Step, l *Ledger) (why string, proven bool) {
	r, ok := st.(Recaller[S])
	if !ok || l == nil {
		return "", false
	}
	kept, why := l.Recall(st.Name(), step)
	if why == "" && r.Recall(s, kept) == nil {
		return "", true
	}
	return orElse(why, "what the ledger keeps of it cannot be read"), false
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func remember[S any](st Stage[S], s *S, step Step, l *Ledger) error {
	r, ok := st.(Recaller[S])
	if !ok || l == nil {
		return nil
	}
	return l.Keep(st.Name(), step, r.Result(s))
}
