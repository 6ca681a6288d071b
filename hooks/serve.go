package hooks

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// ServeChild is the child process: it loads the scripts and carries out calls until
// stdin ends, which is how the end of the host is noticed. It limits the memory of the
// whole process. The caller must end the process when it returns, as a script may still
// be running.
func ServeChild(stdin io.Reader, stdout io.Writer) error {
	c := &child{out: json.NewEncoder(stdout), replies: make(chan reply)}
	work := make(chan request)
	go c.work(work)
	lines := json.NewDecoder(bufio.NewReader(stdin))
	for {
		var r request
		switch err := lines.Decode(&r); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("read hook request: %w", err)
		}
		if r.Reply == nil {
			work <- r
			continue
		}
		select {
		case c.replies <- *r.Reply:
		case <-time.After(time.Second): // the script stopped waiting for it
		}
	}
}

// child is the interpreter's side.
type child struct {
	mu      sync.Mutex // guards out
	out     *json.Encoder
	replies chan reply
	notices int // the ID of the last one

	scripts []*script
	config  any
	dryRun  bool
}

func (c *child) send(m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.out.Encode(m) // if the host is gone stdin ends as well
}

func (c *child) work(requests <-chan request) {
	for r := range requests {
		switch {
		case r.Load != nil:
			c.send(message{Loaded: c.load(r.Load)})
		case r.Call != nil:
			c.send(message{Done: c.call(r.Call)})
		}
	}
}

func (c *child) load(l *load) *loaded {
	if err := limitMemory(l.Memory); err != nil {
		return &loaded{Error: err.Error()}
	}
	c.dryRun = l.DryRun
	if err := decodeJSON(l.Config, &c.config); err != nil {
		return &loaded{Error: fmt.Sprintf("read hook configuration: %v", err)}
	}
	answer := &loaded{}
	for _, src := range l.Scripts {
		s, err := compile(src)
		if err != nil {
			return &loaded{Error: err.Error()}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(l.TimeoutMS)*time.Millisecond)
		defined, err := c.defined(ctx, s)
		cancel()
		if err != nil {
			return &loaded{Error: err.Error()}
		}
		c.scripts = append(c.scripts, s)
		answer.Functions = append(answer.Functions, defined)
	}
	return answer
}

func (c *child) call(r *call) *outcome {
	if r.Script < 0 || r.Script >= len(c.scripts) {
		return &outcome{Error: fmt.Sprintf("no script %d", r.Script)}
	}
	var event any
	if err := decodeJSON(r.Event, &event); err != nil {
		return &outcome{Error: fmt.Sprintf("read event: %v", err)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.TimeoutMS)*time.Millisecond)
	defer cancel()
	return c.run(ctx, c.scripts[r.Script], r.Function, event)
}
