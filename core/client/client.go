// Package client speaks to the sidecar of a state directory, by the socket there: for the
// command line, which hands its operations over to it.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/control"
	"github.com/remora-backup/remora/core/state"
)

// Client speaks to one sidecar.
type Client struct {
	http *http.Client
}

const (
	answerWithin = 40 * time.Second // longer than the sidecar takes
	startWithin  = 10 * time.Second // from its lock to its socket
)

// Find returns the sidecar of the state directory, nil if it has none. One that is just being
// started is waited for.
func Find(ctx context.Context, dir string) (*Client, error) {
	// A connection that is kept has a place at the sidecar's door.
	c := &Client{http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return control.Dial(ctx, dir, control.SocketName)
		},
	}}}
	for began := time.Now(); ; {
		served, err := state.Served(dir)
		if err != nil || !served {
			return nil, err
		}
		st, err := c.Status(ctx)
		if err == nil && !st.Since.IsZero() {
			return c, nil
		}
		if err == nil { // an operation without a sidecar, for whose end one waits
			return nil, nil
		}
		if err != nil && !control.Nobody(err) {
			return nil, err
		}
		if time.Since(began) > startWithin {
			return nil, code.Hint(code.Busy, "its log says why", "a sidecar has %s and does not answer", dir)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// Status is what it does now.
func (c *Client) Status(ctx context.Context) (st api.Status, err error) {
	return st, c.call(ctx, http.MethodGet, "/status", nil, &st)
}

// Configuration returns the path of the file that the sidecar works with.
func (c *Client) Configuration(ctx context.Context) (path string, err error) {
	var s struct{ Path string }
	err = c.call(ctx, http.MethodGet, "/config", nil, &s)
	return s.Path, err
}

// Backup begins one.
func (c *Client) Backup(ctx context.Context) (s api.Started, err error) {
	return s, c.call(ctx, http.MethodPost, "/backups", struct{}{}, &s)
}

// Restore begins one.
func (c *Client) Restore(ctx context.Context, r api.RestoreRequest) (s api.Started, err error) {
	return s, c.call(ctx, http.MethodPost, "/restores", r, &s)
}

// Cancel interrupts the operation with that id, or whatever runs if id is empty.
func (c *Client) Cancel(ctx context.Context, id string) (st api.Status, err error) {
	return st, c.call(ctx, http.MethodPost, "/cancel?"+url.Values{"id": {id}}.Encode(), struct{}{}, &st)
}

// Yield gives the server's lock back, and lets none be asked for until d has passed.
func (c *Client) Yield(ctx context.Context, d time.Duration) (y api.Yielded, err error) {
	return y, c.call(ctx, http.MethodPost, "/yield", api.YieldRequest{For: d.String()}, &y)
}

// Operation is one of the history.
func (c *Client) Operation(ctx context.Context, id string) (o state.Operation, err error) {
	return o, c.call(ctx, http.MethodGet, "/operations/"+url.PathEscape(id), nil, &o)
}

func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	res, err := c.send(ctx, method, path, in, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<20)).Decode(out); err != nil {
		return fmt.Errorf("read the answer of the sidecar: %w", err)
	}
	return nil
}

// send returns an answer that is no refusal. The caller closes its body.
func (c *Client) send(ctx context.Context, method, path string, in any, header http.Header) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://localhost"+path, body)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the sidecar: %w", err)
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer res.Body.Close()
	return nil, refusal(res)
}

// Refused is an answer that says no, with the status it came with.
type Refused struct {
	Status int
	Err    error
}

func (r *Refused) Error() string { return r.Err.Error() }
func (r *Refused) Unwrap() error { return r.Err }

// Gone reports whether what was asked for does not run, or not any more.
func Gone(err error) bool {
	var r *Refused
	return errors.As(err, &r) && (r.Status == http.StatusNotFound || r.Status == http.StatusConflict)
}

func refusal(res *http.Response) error {
	var e api.Error
	if err := json.NewDecoder(io.LimitReader(res.Body, 1<<20)).Decode(&e); err != nil {
		return fmt.Errorf("read the answer of the sidecar: %s: %w", res.Status, err)
	}
	return &Refused{res.StatusCode, code.Hint(code.Code(e.Code), e.Hint, "%s", e.Error)}
}
