package bench

import (
	"fmt"
	"time"
)

// budget deals out the time of a run. Its zero total is unlimited.
type budget struct {
	total time.Duration
	begun time.Time
}

func (b *budget) left() time.Duration { return b.total - time.Since(b.begun) }

// share is what the next of n tests may take: an equal part of what is left; 0 means any time.
func (b *budget) share(n int) time.Duration {
	if b.total == 0 {
		return 0
	}
	return max(time.Nanosecond, b.left()/time.Duration(n))
}

// refuses tells why a test would not fit, or is "". Nothing is refused before a speed of the kind was measured: the least that
// is wanted of a file is one figure for prompts and one for answers.
func (b *budget) refuses(t Test, measured []Result) string {
	need := cost(t, measured)
	if b.total == 0 || need == 0 || need <= b.left() {
		return ""
	}
	return fmt.Sprintf("would take about %s, %s of %s are left", need.Round(time.Second), max(0, b.left()).Round(time.Second), b.total.Round(time.Second))
}

// cost is the time of one warm-up and one repetition by the speeds measured so far, or 0 where there are none to go by. The
// depth is filled once: after that its state is copied.
func cost(t Test, measured []Result) time.Duration {
	prompt, generate := rates(measured)
	if t.Prompt+t.Depth > 0 && prompt == 0 || t.Generate > 0 && generate == 0 {
		return 0
	}
	seconds := 0.0
	if prompt > 0 {
		seconds += float64(2*t.Prompt+t.Depth) / prompt
	}
	if generate > 0 {
		seconds += float64(t.Generate) / generate
	}
	return time.Duration(seconds * float64(time.Second))
}

// rates are the slowest speeds seen, tokens a second: depth only makes slower.
func rates(measured []Result) (prompt, generate float64) {
	slowest := func(v *float64, r float64) {
		if *v == 0 || r < *v {
			*v = r
		}
	}
	for _, r := range measured {
		switch {
		case r.Generate == 0:
			slowest(&prompt, r.TokensPerSecond)
		case r.Prompt == 0:
			slowest(&generate, r.TokensPerSecond)
		}
	}
	return prompt, generate
}
