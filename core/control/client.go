package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"
)

// ErrNotRunning: no operation runs.
var ErrNotRunning = errors.New("no operation is running")

// ErrUnknown: another operation runs, or the one named has ended.
var ErrUnknown = errors.New("not running")

// Ask returns the status of the operation that has the socket of that name in the state
// directory dir.
func Ask(ctx context.Context, dir, name string) (Status, error) {
	return ask(ctx, dir, name, http.MethodGet, "/status")
}

// Cancel interrupts the operation with that id, or whatever runs if id is empty. It does not
// wait for the end.
func Cancel(ctx context.Context, dir, name, id string) (Status, error) {
	return ask(ctx, dir, name, http.MethodPost, "/cancel?"+url.Values{"id": {id}}.Encode())
}

// Dial connects to the socket of that name in dir. The error is fs.ErrNotExist or ECONNREFUSED
// if nobody is there: the socket of one that was killed stays.
func Dial(ctx context.Context, dir, name string) (net.Conn, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return new(net.Dialer).DialContext(ctx, "unix", short(d, name))
}

// Nobody reports whether the error of a call says that nobody listens.
func Nobody(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
}

func ask(ctx context.Context, dir, name, method, path string) (st Status, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	t := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return Dial(ctx, dir, name)
	}}
	req, err := http.NewRequestWithContext(ctx, method, "http://remora"+path, nil)
	if err != nil {
		return st, err
	}
	res, err := (&http.Client{Transport: t}).Do(req)
	if Nobody(err) {
		return st, ErrNotRunning
	}
	if err != nil {
		return st, fmt.Errorf("ask the running operation: %w", err)
	}
	defer res.Body.Close()
	return read(res)
}

func read(res *http.Response) (st Status, err error) {
	body := io.LimitReader(res.Body, 1<<20)
	if res.StatusCode == http.StatusOK {
		if err := json.NewDecoder(body).Decode(&st); err != nil {
			return st, fmt.Errorf("read the answer of the running operation: %w", err)
		}
		return st, nil
	}
	var e struct{ Error string }
	if err := json.NewDecoder(body).Decode(&e); err != nil {
		return st, fmt.Errorf("read the answer of the running operation: %s: %w", res.Status, err)
	}
	if res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusConflict {
		return st, fmt.Errorf("%w: %s", ErrUnknown, e.Error)
	}
	return st, errors.New(e.Error)
}
