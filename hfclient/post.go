package hfclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// post sends a question as JSON and decodes the answer; answer may be nil.
func (c *Client) post(ctx context.Context, address string, question any, on subject, answer any) error {
	b, err := json.Marshal(question)
	if err != nil {
		return err
	}
	return c.postBytes(ctx, address, "application/json", b, on, answer)
}

// postBytes is post with a body of one's own.
func (c *Client) postBytes(ctx context.Context, address, contentType string, body []byte, on subject, answer any) error {
	header := http.Header{"Content-Type": {contentType}, "Accept": {"application/json"}}
	if contentType == lfsType {
		header.Set("Accept", lfsType)
	}
	p := &payload{size: int64(len(body)), open: func() io.ReadCloser { return io.NopCloser(bytes.NewReader(body)) }}
	resp, err := c.send(ctx, http.MethodPost, address, header, on, hops{body: p})
	if err != nil {
		return err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return c.writeError(resp, on)
	}
	defer drain(resp.Body)
	if answer == nil {
		return nil
	}
	r, err := decoded(resp)
	if err != nil {
		return c.networkError(ctx, on, c.endpoint, err)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxListing+1))
	if err != nil {
		return c.networkError(ctx, on, c.endpoint, err)
	}
	if len(data) > maxListing {
		return &Error{Kind: ErrIntegrity, On: on.String(), Says: fmt.Sprintf("an answer of more than %d bytes", maxListing)}
	}
	if err := json.Unmarshal(data, answer); err != nil {
		return &Error{Kind: ErrUnavailable, On: on.String(), Says: "the answer is not the JSON of a Hub", Err: err, Next: "look at HF_ENDPOINT; is it a Hub?"}
	}
	return nil
}

// writeError is statusError for what was to be written: a token that may read says nothing about writing.
func (c *Client) writeError(resp *http.Response, on subject) error {
	err := c.statusError(resp, on)
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Status == http.StatusUnauthorized && c.o.Token.Value == "":
		return c.noToken(on)
	case e.Status == http.StatusForbidden && e.Kind != ErrDisabled:
		e.Kind, e.Says = ErrUnauthorized, "the "+c.o.Token.String()+" may not write here"
		e.Next = "give the token write access to " + on.repo + " at " + c.address("/settings/tokens")
	case e.Status == http.StatusConflict, e.Status == http.StatusPreconditionFailed:
		e.Kind, e.Next = ErrConflict, "somebody else changes the repo; run the same command again"
	case e.Status == http.StatusRequestEntityTooLarge:
		e.Says, e.Next = "the Hub refuses it as too large (status 413)", "write the model in parts: --split-max-size 20G"
	}
	return e
}
