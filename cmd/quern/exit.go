package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"quern/convert/fault"
	"quern/convert/gguf"
	"quern/convert/safetensors"
	"quern/hfclient"
	"quern/pipeline"
	"quern/pipeline/batch/graph"
	"quern/pipeline/batch/lock"
	"quern/pipeline/batch/manifest"
	"quern/pipeline/queue"
	kernels "quern/quantize/build"
	"quern/quantize/imatrix"
	"quern/quantize/llamacpp"
	"quern/quantize/machine"
	"quern/quantize/policy"
	"quern/quantize/recipe"
	"quern/stages/plan"
	"quern/stages/publish"
	"quern/stages/set"
	"quern/stages/smoke"
)

// exits is the one table of exit codes: help, the manual and the tests are made from it. The first row that matches counts.
var exits = []struct {
	Code    int
	Meaning string
	is      func(error) bool
}{
	{0, "success", func(error) bool { return false }},
	{130, "cancelled by the user", isType[*cancelled]},
	{2, "usage: an unknown command or option, a missing or wrong argument", func(err error) bool {
		return isType[*usageError](err) || isType[*policy.OptionError](err) || isType[*plan.OutputError](err) || isType[*machine.UnknownMachineError](err) || isType[*smoke.UnknownCheckError](err) || isType[manifest.Errors](err) || isType[*queue.OpenError](err) || isType[*publish.TargetError](err) || isType[*publish.MixedError](err) || isType[*publish.NoTypeError](err) || errors.Is(err, hfclient.ErrInvalid) || refused(err, policy.Requantize, policy.NeedsImatrix, policy.NoFallback, policy.BadShape, policy.BadType)
	}},
	{10, "not found: a repository, revision, file or folder", anyIs(fs.ErrNotExist, hfclient.ErrNotFound)},
	{11, "gated or not authorised: accept the licence on the model's page, or set HF_TOKEN", anyIs(hfclient.ErrGated, publish.ErrDenied)},
	{14, "llama.cpp runtime: missing, of another version, or failed", anyIs(llamacpp.ErrRuntime)},
	{15, "smoke test failed: the file does not work", anyIs(smoke.ErrFailed)},
	{16, "does not fit: memory or disk", func(err error) bool {
		return isType[*plan.TooLargeError](err) || isType[*plan.NoRoomError](err) || isType[*kernels.SpaceError](err) || isType[*graph.BudgetError](err) || anyIs(hfclient.ErrNoSpace, syscall.ENOSPC)(err)
	}},
	{13, "unsupported model: an architecture, tokenizer or source format that quern does not convert", func(err error) bool {
		return isType[*fault.Unsupported](err) || errors.Is(err, hfclient.ErrNoWeights) || refused(err, policy.BadModel)
	}},
	{12, "integrity: a file is damaged, or is not what was promised", func(err error) bool {
		return isType[*fault.Invalid](err) || isType[*safetensors.FormatError](err) || isType[*gguf.FormatError](err) || errors.Is(err, hfclient.ErrIntegrity) ||
			isType[*kernels.NotFiniteError](err) || isType[*kernels.UnsoundError](err) || isType[*imatrix.Error](err) || isType[*recipe.Error](err) || isType[*lock.DriftError](err) || isType[*set.DamagedError](err) || refused(err, policy.ImatrixDiffer)
	}},
	{17, "a gate was not met: the file works and is not good or fast enough", isType[*set.GateError]},
	{18, "not published: the licence does not allow it, or is not known to", isType[*publish.LicenceError]},
	{1, "any other failure, or entries of a batch that failed for different reasons", func(error) bool { return true }},
}

// isType matches errors that wrap one of the type.
func isType[T error](err error) bool {
	var t T
	return errors.As(err, &t)
}

// anyIs matches errors that wrap one of the targets.
func anyIs(targets ...error) func(error) bool {
	return func(err error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
}

// refused tells whether the quantizer refuses the request for one of the reasons.
func refused(err error, why ...policy.Reason) bool {
	var r *policy.Refusal
	return errors.As(err, &r) && slices.Contains(why, r.Why)
}

// exitCode finds the first row that matches. A batch has a code of its own, made of those of its entries.
func exitCode(err error) int {
	var failed *set.Failed
	if errors.As(err, &failed) {
		return failed.Code()
	}
	for _, e := range exits {
		if e.is(err) {
			return e.Code
		}
	}
	return 1
}

// usageError is a mistake in the command line.
type usageError struct{ says, hint string }

func (e *usageError) Error() string { return e.says }
func (e *usageError) Hint() string  { return e.hint }

// usagef is a mistake in the command line: what to do instead, and what is wrong.
func usagef(hint, format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...), hint}
}

// errorText is one line: the stage in which it happened, and what happened.
func errorText(err error) string {
	var se *pipeline.StageError
	if errors.As(err, &se) && !isType[*cancelled](err) {
		err = fmt.Errorf("%s: %w", se.Stage, se.Err)
	}
	return strings.ReplaceAll(err.Error(), "\n", " ")
}

// hintOf is the next step that the innermost error with a hint proposes.
func hintOf(err error) string {
	hint := ""
	for e := err; e != nil; e = errors.Unwrap(e) {
		if h, ok := e.(interface{ Hint() string }); ok && h.Hint() != "" {
			hint = h.Hint()
		}
	}
	if hint != "" {
		return hint
	}
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}

// detailOf are the last lines of the log of a program that failed, such as llama.cpp's own words.
func detailOf(err error) []string {
	var d interface{ Detail() []string }
	if errors.As(err, &d) {
		return d.Detail()
	}
	return nil
}
