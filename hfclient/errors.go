package hfclient

import (
	"errors"
	"fmt"
	"strings"
)

// The kinds of failure. errors.Is finds them through any wrapping; a narrower kind is also its wider one.
var (
	// ErrInvalid is a repo id, revision or option that cannot be right.
	ErrInvalid = errors.New("invalid request")
	// ErrNotFound is anything that the Hub does not have.
	ErrNotFound = errors.New("not found")
	// ErrRepoNotFound is a repo that is missing, private or renamed away. It is an ErrNotFound.
	ErrRepoNotFound = errors.New("repo not found")
	// ErrRevisionNotFound is an unknown branch, tag or commit. It is an ErrNotFound.
	ErrRevisionNotFound = errors.New("revision not found")
	// ErrFileNotFound is a file that the revision does not hold. It is an ErrNotFound.
	ErrFileNotFound = errors.New("file not found")
	// ErrNoWeights is a repo without weights that a conversion can read.
	ErrNoWeights = errors.New("no usable weights")
	// ErrGated is a repo that this user may not read.
	ErrGated = errors.New("access refused")
	// ErrUnauthorized is a token that the Hub does not take. It is an ErrGated.
	ErrUnauthorized = errors.New("token refused")
	// ErrDisabled is a repo that the Hub has closed. It is an ErrGated.
	ErrDisabled = errors.New("repo disabled")
	// ErrIntegrity is an answer that contradicts itself or the digest that was promised.
	ErrIntegrity = errors.New("integrity")
	// ErrNoSpace is a disk that is too small.
	ErrNoSpace = errors.New("no space")
	// ErrCache is a cache folder that cannot be read or written.
	ErrCache = errors.New("cache unusable")
	// ErrOffline is something that the cache lacks while the network is not to be used.
	ErrOffline = errors.New("offline")
	// ErrConflict is a repo that somebody else changes at the same time, after all retries.
	ErrConflict = errors.New("conflict")
	// ErrUnavailable is a server or a network that gave no usable answer, after all retries.
	ErrUnavailable = errors.New("unavailable")
)

var wider = map[error]error{
	ErrRepoNotFound:     ErrNotFound,
	ErrRevisionNotFound: ErrNotFound,
	ErrFileNotFound:     ErrNotFound,
	ErrUnauthorized:     ErrGated,
	ErrDisabled:         ErrGated,
}

// Error is every failure of this package: its kind, what it concerns, what is wrong, and what to do next.
type Error struct {
	Kind      error  // one of the Err variables
	On        string // repo, repo@revision or repo/file; may be empty
	Says      string // what is wrong, lower case, with the numbers
	Next      string // what the user can do
	Status    int    // HTTP status, 0 if none
	RequestID string // the server's name for the request, for a bug report; may be empty
	Err       error  // the cause, if there is one
}

// Error is one line: on what, what is wrong, the cause, and the request id.
func (e *Error) Error() string {
	var parts []string
	for _, s := range []string{e.On, e.Says} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	s := strings.Join(parts, ": ")
	if e.RequestID != "" {
		s += fmt.Sprintf(" (request %s)", e.RequestID)
	}
	return s
}

// Hint is the next step for the user; it may be empty.
func (e *Error) Hint() string { return e.Next }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the error's kind or a wider one.
func (e *Error) Is(target error) bool { return target == e.Kind || target == wider[e.Kind] }
