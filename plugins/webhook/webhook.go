// Package webhook posts notices to a URL.
//
// A notice is queued and Send returns: whoever is slow or gone on the other side must not
// hold a backup up. A full queue loses its oldest notice, and says so in the log.
package webhook

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/plugins/sdk"
)

// Config is the plugin's part of the configuration.
type Config struct {
	URL      string            `json:"url"`
	Method   string            `json:"method"` // "POST", the default, or "GET", which sends no more than the URL
	Headers  map[string]string `json:"headers"`
	Timeout  string            `json:"timeout"`  // of one request; default "5s"
	Queue    int               `json:"queue"`    // notices kept; default 100
	Attempts int               `json:"attempts"` // per notice; default 6
}

// Serve is the plugin's main function.
func Serve() {
	sdk.ServeNotify(func(raw json.RawMessage) (plug.Notify, error) {
		var c Config
		if err := sdk.Decode(raw, &c); err != nil {
			return nil, err
		}
		return Open(c)
	})
}

// Hook posts to one URL, one notice at a time, in order.
type Hook struct {
	c       Config
	client  *http.Client
	backoff time.Duration // before the second attempt; doubled for each one more
	wake    chan struct{} // something is queued
	stop    context.CancelFunc
	stopped chan struct{}

	mu      sync.Mutex
	queue   []plug.Notice
	busy    bool
	idle    []chan struct{} // closed when nothing is left to do
	dropped int             // notices lost so far
}

const maxBackoff = 30 * time.Second

// Open checks the settings and starts to work. Drain ends it.
func Open(c Config) (*Hook, error) {
	if u, err := url.Parse(c.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		// What it is stays untold: a URL may hold a secret.
		return nil, fmt.Errorf(`key "url" is not of the form https://host/path: %w`, plug.ErrInvalid)
	}
	if c.Method != "" && c.Method != http.MethodPost && c.Method != http.MethodGet {
		return nil, fmt.Errorf(`key "method": want GET or POST, have %q: %w`, c.Method, plug.ErrInvalid)
	}
	if c.Timeout == "" {
		c.Timeout = "5s"
	}
	timeout, err := time.ParseDuration(c.Timeout)
	if err != nil || timeout <= 0 {
		return nil, fmt.Errorf("timeout %q is not a duration: %w", c.Timeout, plug.ErrInvalid)
	}
	if c.Queue == 0 {
		c.Queue = 100
	}
	if c.Attempts == 0 {
		c.Attempts = 6
	}
	if c.Queue < 0 || c.Attempts < 0 {
		return nil, fmt.Errorf("queue and attempts must be positive: %w", plug.ErrInvalid)
	}
	return open(c, timeout, 500*time.Millisecond), nil
}

func open(c Config, timeout, backoff time.Duration) *Hook {
	c.Method = cmp.Or(c.Method, http.MethodPost)
	h := &Hook{
		c:       c,
		client:  &http.Client{Timeout: timeout},
		backoff: backoff,
		wake:    make(chan struct{}, 1),
		stopped: make(chan struct{}),
	}
	var ctx context.Context
	ctx, h.stop = context.WithCancel(context.Background())
	go h.work(ctx)
	return h
}

// Send is plug.Notify's: it only queues.
func (h *Hook) Send(ctx context.Context, n plug.Notice) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.queue) >= h.c.Queue {
		h.queue = h.queue[1:]
		h.dropped++
		slog.Warn("webhook is too slow, oldest notice dropped", "dropped", h.dropped)
	}
	h.queue = append(h.queue, n)
	select {
	case h.wake <- struct{}{}:
	default:
	}
	return nil
}

// Drain posts what is queued until ctx is done; the error says how much was not.
func (h *Hook) Drain(ctx context.Context) error {
	done := make(chan struct{})
	h.mu.Lock()
	if h.busy || len(h.queue) > 0 {
		h.idle = append(h.idle, done)
	} else {
		close(done)
	}
	h.mu.Unlock()
	select {
	case <-done:
	case <-ctx.Done():
	}
	h.stop()
	<-h.stopped
	h.mu.Lock()
	defer h.mu.Unlock()
	if left := len(h.queue); left > 0 {
		return fmt.Errorf("%d notices were not posted: %w", left, context.Cause(ctx))
	}
	return nil
}

func (h *Hook) work(ctx context.Context) {
	defer close(h.stopped)
	for {
		n, ok := h.next()
		if !ok {
			select {
			case <-h.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		if err := h.deliver(ctx, n); ctx.Err() != nil && err != nil {
			h.mu.Lock() // for Drain to count
			h.queue = append([]plug.Notice{n}, h.queue...)
			h.mu.Unlock()
			return
		} else if err != nil {
			slog.Warn("notice not posted", "error", err.Error(), "text", n.Text)
		}
	}
}

// next takes the oldest notice; without one, it tells those who wait for that.
func (h *Hook) next() (plug.Notice, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy = len(h.queue) > 0
	if !h.busy {
		for _, c := range h.idle {
			close(c)
		}
		h.idle = nil
		return plug.Notice{}, false
	}
	n := h.queue[0]
	h.queue = h.queue[1:]
	return n, true
}

// deliver tries until it worked, cannot work, or has been tried often enough.
func (h *Hook) deliver(ctx context.Context, n plug.Notice) error {
	var body []byte
	if h.c.Method == http.MethodPost {
		var err error
		if body, err = json.Marshal(n); err != nil {
			return fmt.Errorf("encode the notice: %w", err)
		}
	}
	pause := h.backoff
	for attempt := 1; ; attempt++ {
		again, err := h.post(ctx, body)
		if err == nil {
			return nil
		}
		if !again || attempt >= h.c.Attempts {
			return fmt.Errorf("attempt %d: %w", attempt, err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
		pause = min(2*pause, maxBackoff)
	}
}

// post makes one request; again says whether another one may do better.
func (h *Hook) post(ctx context.Context, body []byte) (again bool, err error) {
	r, err := http.NewRequestWithContext(ctx, h.c.Method, h.c.URL, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	if len(body) > 0 {
		r.Header.Set("Content-Type", "application/json")
	}
	for k, v := range h.c.Headers {
		r.Header.Set(k, v)
	}
	answer, err := h.client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // a URL may hold a secret
		}
		return true, err
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10) // so that the connection can be used again
	switch code := answer.StatusCode; {
	case code < 300:
		return false, nil
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return true, fmt.Errorf("answer: %s", answer.Status)
	default:
		return false, fmt.Errorf("answer: %s", answer.Status)
	}
}
