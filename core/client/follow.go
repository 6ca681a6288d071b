package client

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
)

// Follow hands the events of an operation to each, in order, until its end, which it returns. A
// stream that breaks is taken up again; a sidecar that ends before the operation's answer is
// known is an error.
func (c *Client) Follow(ctx context.Context, id string, each func(run.Event)) (run.Event, error) {
	last := ""
	for tries := 0; ; tries++ {
		end, err := c.stream(ctx, id, &last, each)
		if err == nil {
			c.settle(ctx, id)
			return end, nil
		}
		if ctx.Err() != nil {
			return run.Event{}, context.Cause(ctx)
		}
		if o, oerr := c.Operation(ctx, id); oerr == nil && !o.Ongoing() {
			end = endOf(o)
			each(end)
			return end, nil
		}
		if tries == 10 {
			return run.Event{}, code.Hint(code.Unclassified, "remora status, remora history", "the sidecar does not tell of operation %s any more: %w", id, err)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return run.Event{}, context.Cause(ctx)
		}
	}
}

// settleWithin is longer than an operation takes to give back what it has.
const settleWithin = 30 * time.Second

// settle waits until the sidecar has done with an operation that has ended: then its lock is
// free and the history knows how it ended.
func (c *Client) settle(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	for {
		if st, err := c.Status(ctx); err != nil || st.ID != id {
			return
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// endOf is the end event of an operation as far as the history has it.
func endOf(o state.Operation) run.Event {
	e := run.Event{
		Kind: run.KindEnd, Operation: o.Operation, ID: o.ID, Time: o.Ended, State: o.State, Code: o.Code, Error: o.Error, Errors: o.Errors,
		Message: "Operation aborted", InterruptedBy: o.InterruptedBy, Destructive: o.Destructive,
	}
	switch {
	case o.State == run.Complete || o.State == run.CompleteWithWarnings:
		e.Message = o.Operation + " completed"
	case e.Code == 0: // it crashed
		e.Code, e.Hint = int(code.Unclassified), "remora status: a sidecar that is started again goes on with a restore by itself"
	}
	return e
}

// stream reads until the end event. The number of the last event goes to last.
func (c *Client) stream(ctx context.Context, id string, last *string, each func(run.Event)) (run.Event, error) {
	header := http.Header{}
	if *last != "" {
		header.Set("Last-Event-ID", *last)
	}
	res, err := c.send(ctx, http.MethodGet, "/operations/"+url.PathEscape(id)+"/events", nil, header)
	if err != nil {
		return run.Event{}, err
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for {
		m, err := readMessage(lines)
		if err != nil {
			return run.Event{}, fmt.Errorf("read events: %w", err)
		}
		if m.id == "" {
			continue // of the stream itself: lost, closed
		}
		e, err := run.ParseEvent([]byte(m.data))
		if err != nil {
			return run.Event{}, err
		}
		*last = m.id
		each(e)
		if e.Kind == run.KindEnd {
			return e, nil
		}
	}
}

// message is one of a stream of server-sent events. Source: the HTML standard, "Server-sent events".
type message struct{ id, data string }

// mostMessage bounds one message.
const mostMessage = 64 << 20

func readMessage(r *bufio.Reader) (m message, err error) {
	for n, begun := 0, false; ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return m, err
		}
		if n += len(line); n > mostMessage {
			return m, fmt.Errorf("a message is longer than %d bytes: %w", mostMessage, io.ErrUnexpectedEOF)
		}
		line = strings.TrimRight(line, "\r\n")
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "" && begun:
			return m, nil
		case field == "id":
			m.id, begun = value, true
		case field == "data":
			m.data, begun = m.data+value, true
		case field == "event":
			begun = true
		}
	}
}
