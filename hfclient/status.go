package hfclient

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// decoded undoes a compression that we did not ask for; some proxies send one all the same.
func decoded(resp *http.Response) (io.Reader, error) {
	switch enc := strings.ToLower(resp.Header.Get("Content-Encoding")); enc {
	case "", "identity":
		return resp.Body, nil
	case "gzip", "x-gzip":
		return gzip.NewReader(resp.Body)
	default:
		return nil, fmt.Errorf("answer compressed as %q, which was not asked for", enc)
	}
}

// networkError is a request without an answer.
func (c *Client) networkError(ctx context.Context, on subject, u *url.URL, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	return &Error{Kind: ErrUnavailable, On: on.String(), Says: "no answer from " + u.Host,
		Next: "check the network, HTTPS_PROXY and HF_ENDPOINT; HF_HUB_OFFLINE=1 uses what the cache holds",
		Err:  errors.New(redactError(err))}
}

// offlineError is for what a network would help with.
func offlineError(on subject, says string) error {
	return &Error{Kind: ErrOffline, On: on.String(), Says: says,
		Next: "run again with a network, without --offline and HF_HUB_OFFLINE"}
}

// refusal is what a failed answer says about itself.
type refusal struct {
	status        int
	code, message string
	request       string
	hasToken      bool
}

// statusError makes the error of an answer that is not a success, and closes its body.
func (c *Client) statusError(resp *http.Response, on subject) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	_ = resp.Body.Close()
	r := refusal{
		status: resp.StatusCode, code: resp.Header.Get("X-Error-Code"), message: resp.Header.Get("X-Error-Message"),
		hasToken: c.o.Token.Value != "",
	}
	for _, name := range []string{"X-Request-Id", "X-Amzn-Trace-Id", "X-Amz-Cf-Id"} {
		if r.request == "" {
			r.request = printable(resp.Header.Get(name), 100)
		}
	}
	if r.message == "" {
		var answer struct{ Error any }
		if json.Unmarshal(body, &answer) == nil {
			if s, ok := answer.Error.(string); ok {
				r.message = s
			}
		}
	}
	r.message = printable(r.message, 300)
	e := c.classify(r, on)
	e.On, e.Status, e.RequestID = on.String(), r.status, r.request
	return e
}

// classify decides by X-Error-Code, then X-Error-Message, then the status.
func (c *Client) classify(r refusal, on subject) *Error {
	page := c.address("/" + on.repo)
	switch {
	case r.code == "RevisionNotFound":
		return &Error{Kind: ErrRevisionNotFound, Says: fmt.Sprintf("revision %q does not exist", on.revision)}
	case r.code == "EntryNotFound":
		return &Error{Kind: ErrFileNotFound, Says: "no such file in this revision"}
	case r.code == "GatedRepo":
		return c.gatedError(r, page)
	case r.message == "Invalid credentials in Authorization header":
		return &Error{Kind: ErrUnauthorized, Says: "the Hub does not take the " + c.o.Token.String(),
			Next: "make a new token at " + c.address("/settings/tokens") + ", or remove the one in " + c.o.Token.Source}
	case r.message == "Access to this resource is disabled.":
		return &Error{Kind: ErrDisabled, Says: "the Hub has disabled access to this repo", Next: "its page may say why: " + page}
	case r.code == "RepoNotFound" || r.status == http.StatusUnauthorized:
		return c.missingRepo(r, page)
	case r.status == http.StatusForbidden:
		return &Error{Kind: ErrGated, Says: "access forbidden" + said(r.message),
			Next: "give the token (" + c.o.Token.String() + ") read access to this repo, or see " + page}
	case r.status == http.StatusNotFound && on.path != "":
		return &Error{Kind: ErrFileNotFound, Says: "no such file in this revision"}
	case r.status == http.StatusNotFound:
		return c.missingRepo(r, page)
	case r.status == http.StatusTooManyRequests:
		return &Error{Kind: ErrUnavailable, Says: fmt.Sprintf("the server still refuses after %d tries: too many requests", maxTries),
			Next: "wait some minutes; with HF_TOKEN set the allowance is larger"}
	case transient(r.status):
		return &Error{Kind: ErrUnavailable, Says: fmt.Sprintf("the server fails with status %d after %d tries", r.status, maxTries) + said(r.message),
			Next: "run the same command again later; what is proven is kept"}
	}
	return &Error{Kind: ErrUnavailable, Says: fmt.Sprintf("the server answers with status %d", r.status) + said(r.message),
		Next: "look at HF_ENDPOINT; is it a Hub?"}
}

// gatedError names the page where access is asked for; only a person can do that.
func (c *Client) gatedError(r refusal, page string) *Error {
	if r.hasToken {
		return &Error{Kind: ErrGated, Says: "gated: the " + c.o.Token.String() + " has no access",
			Next: "ask for access at " + page + " with the account of this token"}
	}
	return &Error{Kind: ErrGated, Says: "gated: its licence must be accepted first",
		Next: "accept it at " + page + ", then set HF_TOKEN to a token of that account"}
}

// missingRepo cannot tell a private repo from none, because the Hub does not tell.
func (c *Client) missingRepo(r refusal, page string) *Error {
	if r.hasToken {
		return &Error{Kind: ErrRepoNotFound, Says: "no such repo, or it is private and the " + c.o.Token.String() + " may not see it",
			Next: "check the spelling against " + page}
	}
	return &Error{Kind: ErrRepoNotFound, Says: "no such repo, or it is private and you are not logged in",
		Next: "check the spelling; for a private repo set HF_TOKEN"}
}

// said adds the server's own words, which printable has kept to one line.
func said(message string) string {
	if message == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", message)
}

// printable keeps text of a server on one bounded line.
func printable(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "")))
}
