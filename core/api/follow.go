package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
)

func followAll(w http.ResponseWriter, c *call) error { return follow(w, c, Now, "") }

func followOne(w http.ResponseWriter, c *call) error {
	ctx, cancel := context.WithTimeout(c.r.Context(), c.limits.answer)
	defer cancel()
	o, err := c.sidecar.Operation(ctx, c.id)
	if err != nil {
		return err
	}
	return follow(w, c, 0, o.ID)
}

// follow sends the events after the one that Last-Event-ID names, else after the one with that
// number; those of one operation, if of names it, until its end.
func follow(w http.ResponseWriter, c *call, after uint64, of string) error {
	if id := c.r.Header.Get("Last-Event-ID"); id != "" {
		n, err := strconv.ParseUint(id, 10, 64)
		if err != nil {
			return bad("", "the header Last-Event-ID: %.40q is not the number of an event", id)
		}
		after = n
	}
	ctx, cancel := context.WithCancelCause(c.r.Context())
	defer cancel(nil)
	one := &stream{cancel: cancel, may: func() bool {
		now := identify(c.door, c.now(), c.r)
		return now.Name == c.by.Name && now.Role >= c.by.Role
	}}
	if !c.streams.add(one, c.limits.connections/2) { // the other half is for calls that end
		w.Header().Set("Retry-After", "60")
		return fail(http.StatusServiceUnavailable, code.Unclassified, "too many readers of events")
	}
	defer c.streams.remove(one)
	if !one.may() {
		return errNobody // changed since it was asked
	}
	sub, lost := subscribe(c.sidecar, after)
	defer sub.Close()
	out := newEventWriter(w, c.limits.answer)
	if lost {
		out.send("lost", "", []byte(`{"after":`+strconv.FormatUint(after, 10)+`}`))
	}
	err := pass(ctx, out, sub, c, of)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	for _, known := range []error{errRevoked, errClosing, errBehind, errEnded} {
		if errors.Is(err, known) {
			out.send("closed", "", []byte(`{"reason":"`+known.Error()+`"}`))
		}
	}
	return nil
}

// subscribe knows a number that none of today's events has for one of another life: nothing is
// to be told by it but that something was lost.
func subscribe(from Sidecar, after uint64) (sub Subscription, lost bool) {
	sub = from.Events(after)
	if after == Now || after <= sub.Newest() {
		return sub, sub.Lost()
	}
	sub.Close()
	return from.Events(0), true
}

// pass hands events on until there are no more, the reader is gone, or it is not allowed
// to go on.
func pass(ctx context.Context, out *eventWriter, sub Subscription, c *call, of string) error {
	looked, ended, wait := time.Now(), false, c.limits.heartbeat
	if of != "" && over(ctx, c) {
		ended, wait = true, min(wait, time.Second)
	}
	for out.err == nil {
		e, err := nextWithin(ctx, sub, wait)
		switch {
		case errors.Is(err, ErrBehind):
			return errBehind
		case ctx.Err() != nil:
			return nil // why is the context's cause
		case errors.Is(err, context.DeadlineExceeded):
			out.comment("alive")
		case err != nil:
			return err
		case of == "" || e.ID == of:
			out.event(e, c.by.Role)
			if of != "" && e.Kind == run.KindEnd {
				return errEnded
			}
			continue
		}
		quiet := err != nil || e.Number > sub.Newest() && time.Since(looked) >= wait
		if of == "" || !quiet {
			continue
		}
		if ended {
			return errEnded // of which no event is kept
		}
		looked = time.Now()
		if over(ctx, c) {
			ended, wait = true, min(wait, time.Second)
		}
	}
	return out.err
}

func nextWithin(ctx context.Context, sub Subscription, d time.Duration) (Event, error) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return sub.Next(ctx)
}

// over reports whether the operation has ended by now: an end of which no event is kept is
// none that can be waited for.
func over(ctx context.Context, c *call) bool {
	ctx, cancel := context.WithTimeout(ctx, c.limits.answer)
	defer cancel()
	o, err := c.sidecar.Operation(ctx, c.id)
	return err == nil && !o.Ongoing()
}

// eventWriter writes server-sent events. A reader who takes nothing for too long is gone.
type eventWriter struct {
	w      http.ResponseWriter
	rc     *http.ResponseController
	within time.Duration
	buf    bytes.Buffer
	err    error // the first
}

func newEventWriter(w http.ResponseWriter, within time.Duration) *eventWriter {
	o := &eventWriter{w: w, rc: http.NewResponseController(w), within: within}
	_ = o.rc.SetReadDeadline(time.Time{}) // the request was read: what remains is to see him hang up
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Accel-Buffering", "no")
	o.comment("remora")
	return o
}

func (o *eventWriter) event(e Event, role Role) {
	text, err := json.Marshal(seen(e, role))
	if err != nil {
		text = []byte(fmt.Sprintf(`{"event":%q,"id":%q}`, e.Kind, e.ID)) // a result that is no object
	}
	o.send(string(e.Kind), strconv.FormatUint(e.Number, 10), text)
}

func (o *eventWriter) send(name, id string, data []byte) {
	o.buf.Reset()
	if id != "" {
		fmt.Fprintf(&o.buf, "id: %s\n", id)
	}
	fmt.Fprintf(&o.buf, "event: %s\ndata: %s\n\n", name, data)
	o.flush()
}

func (o *eventWriter) comment(text string) {
	o.buf.Reset()
	fmt.Fprintf(&o.buf, ": %s\n\n", text)
	o.flush()
}

func (o *eventWriter) flush() {
	if o.err != nil {
		return
	}
	if o.err = o.rc.SetWriteDeadline(time.Now().Add(o.within)); o.err != nil {
		return
	}
	if _, o.err = o.w.Write(o.buf.Bytes()); o.err == nil {
		o.err = o.rc.Flush()
	}
}
