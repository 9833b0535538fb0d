package hubtest

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Script runs one command of a test script against the Hub, so that scripts of a real program can set the scene and
// look at what happened. Folders are those of the caller, already made absolute.
//
//	repo ID DIR                    a repo with one commit on main
//	branch ID NAME DIR             another commit
//	tag ID NAME BRANCH
//	noise ID PATH SIZE SEED        a large file of pseudo-random bytes
//	put ID PATH TEXT               a file with any name, however hostile
//	lie ID PATH SIZE|DIGEST        the listing promises this instead
//	gated|private ID [TOKEN...]    only these tokens get in
//	disabled ID
//	nolist|noblobs ID              a listing that says too little
//	rename OLD NEW
//	prefix PATH | pages N | lifetime N
//	fault WORDS...                 see ParseFault
//	writer TOKEN ORG...            the token may make repos of these and write to them
//	parts N                        larger objects are uploaded in parts of N bytes
//	received MIN MAX               fail unless so many bytes were uploaded
//	forget                         drop faults and records
//	served PATH MIN MAX            fail unless so many bytes of the file were sent
//	requests MIN MAX               fail unless so many requests came
//	noleak SECRET                  fail if another host than the Hub was sent it
func (h *Hub) Script(args ...string) error {
	if len(args) == 0 {
		return fmt.Errorf("no command")
	}
	run, ok := commands[args[0]]
	if !ok {
		return fmt.Errorf("%s: unknown command", args[0])
	}
	args = args[1:]
	// Every request takes this lock first, and so sees the fields that are set here.
	//lint:ignore SA2001 an empty section is a barrier
	defer func() { h.mu.Lock(); h.mu.Unlock() }()
	if len(args) < run.least || run.exact && len(args) > run.least {
		return fmt.Errorf("%d arguments, want %d", len(args), run.least)
	}
	if !run.repo {
		return run.do(h, nil, args)
	}
	r := h.repo(args[0])
	if r == nil {
		return fmt.Errorf("%s: no such repo", args[0])
	}
	return run.do(h, r, args[1:])
}

type command struct {
	least int  // arguments
	exact bool // no more than that
	repo  bool // the first names a repo, and is taken off
	do    func(h *Hub, r *Repo, a []string) error
}

var commands = map[string]command{
	"repo":     {2, true, false, func(h *Hub, _ *Repo, a []string) error { h.Add(a[0], os.DirFS(a[1])); return nil }},
	"branch":   {3, true, true, func(_ *Hub, r *Repo, a []string) error { r.Branch(a[0], os.DirFS(a[1])); return nil }},
	"tag":      {3, true, true, func(_ *Hub, r *Repo, a []string) error { r.Tag(a[0], a[1]); return nil }},
	"put":      {3, true, true, func(_ *Hub, r *Repo, a []string) error { r.Put(a[0], []byte(a[1])); return nil }},
	"noise":    {4, true, true, scriptNoise},
	"lie":      {3, true, true, scriptLie},
	"gated":    {1, false, true, func(_ *Hub, r *Repo, a []string) error { r.Gated = true; return grant(r, a) }},
	"private":  {1, false, true, func(_ *Hub, r *Repo, a []string) error { r.Private = true; return grant(r, a) }},
	"disabled": {1, true, true, func(_ *Hub, r *Repo, _ []string) error { r.Disabled = true; return nil }},
	"nolist":   {1, true, true, func(_ *Hub, r *Repo, _ []string) error { r.NoList = true; return nil }},
	"noblobs":  {1, true, true, func(_ *Hub, r *Repo, _ []string) error { r.NoBlobs = true; return nil }},
	"rename":   {2, true, false, func(h *Hub, _ *Repo, a []string) error { h.Rename(a[0], a[1]); return nil }},
	"prefix":   {1, true, false, func(h *Hub, _ *Repo, a []string) error { h.Prefix = a[0]; return nil }},
	"pages":    {1, true, false, func(h *Hub, _ *Repo, a []string) error { return number(a[0], &h.PageSize) }},
	"lifetime": {1, true, false, func(h *Hub, _ *Repo, a []string) error { return number(a[0], &h.Lifetime) }},
	"writer":   {2, false, false, func(h *Hub, _ *Repo, a []string) error { h.Writer(a[0], a[1:]...); return nil }},
	"parts": {1, true, false, func(h *Hub, _ *Repo, a []string) (err error) {
		h.PartSize, err = strconv.ParseInt(a[0], 10, 64)
		return err
	}},
	"received": {2, true, false, func(h *Hub, _ *Repo, a []string) error { return between("received", h.Received(), a) }},
	"fault":    {1, false, false, scriptFault},
	"forget":   {0, true, false, func(h *Hub, _ *Repo, _ []string) error { h.Forget(); return nil }},
	"served":   {3, true, false, func(h *Hub, _ *Repo, a []string) error { return between(a[0], h.Served(a[0]), a[1:]) }},
	"requests": {2, true, false, func(h *Hub, _ *Repo, a []string) error { return between("requests", int64(len(h.Requests())), a) }},
	"noleak":   {1, true, false, scriptLeak},
}

func grant(r *Repo, tokens []string) error {
	for _, t := range tokens {
		r.Granted[t] = true
	}
	return nil
}

func number(s string, to *int) (err error) {
	*to, err = strconv.Atoi(s)
	return err
}

func scriptNoise(_ *Hub, r *Repo, a []string) error {
	size, err := strconv.ParseInt(a[1], 10, 64)
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(a[2], 10, 64)
	if err == nil {
		r.PutNoise(a[0], size, seed)
	}
	return err
}

// scriptLie takes what can be a digest by its length for one, and all else for a size.
func scriptLie(_ *Hub, r *Repo, a []string) error {
	if len(a[1]) == 40 || len(a[1]) == 64 {
		r.Lie(a[0], 0, a[1])
		return nil
	}
	size, err := strconv.ParseInt(a[1], 10, 64)
	if err == nil {
		r.Lie(a[0], size, "")
	}
	return err
}

func scriptFault(h *Hub, _ *Repo, a []string) error {
	f, err := ParseFault(a)
	if err == nil {
		h.Fault(f)
	}
	return err
}

// between tells the number, so that a failing script shows how far off it is.
func between(what string, got int64, bounds []string) error {
	lo, err := strconv.ParseInt(bounds[0], 10, 64)
	if err != nil {
		return err
	}
	hi, err := strconv.ParseInt(bounds[1], 10, 64)
	if err != nil {
		return err
	}
	if got < lo || got > hi {
		return fmt.Errorf("%s: %d, want %d to %d", what, got, lo, hi)
	}
	return nil
}

func scriptLeak(h *Hub, _ *Repo, a []string) error {
	var at []string
	for _, r := range h.Leaks(a[0]) {
		at = append(at, string(r.Host)+r.Path)
	}
	if at != nil {
		return fmt.Errorf("the secret was sent to %s", strings.Join(at, ", "))
	}
	return nil
}
