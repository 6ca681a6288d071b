package api

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/code"
)

// handle answers one request: whose page sent it, who asks, what he may, what he wants, in
// this order. Nothing of a request is parsed for somebody who may not make it.
func (s *Server) handle(d *door, w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(s.limits.read + 2*s.limits.answer))
	c := &call{sidecar: s.cfg.Sidecar, r: r, door: d, access: s.access.Load(), now: s.access.Load, limits: s.limits, streams: &s.streams, metrics: s.cfg.Metrics}
	var rt *route
	status, answer, err := 0, any(nil), error(nil)
	func() {
		defer func() {
			if p := recover(); p != nil {
				err = &panicked{p, debug.Stack()}
			}
		}()
		if err = s.admit(w, c); err != nil {
			return
		}
		if rt, err = c.route(w); err != nil {
			return
		}
		status, answer, err = s.carryOut(w, c, rt)
	}()
	if err != nil {
		s.refuse(w, c, rt, err)
		return
	}
	if answer != (sent{}) {
		send(w, status, seen(answer, c.by.Role))
	}
	if rt.changes {
		s.cfg.Audit(Entry{Time: time.Now(), By: c.by, What: c.what(rt), Status: status, ID: c.began})
	}
}

// admit finds out whether the request is meant for us, and who makes it.
func (s *Server) admit(w http.ResponseWriter, c *call) error {
	d, r, a := c.door, c.r, c.access
	if d.foreign(r, a.hosts) {
		return fail(http.StatusForbidden, code.Privilege, "pages of other sites get no answer")
	}
	if d.probes { // asked by the address of a pod, by any name: there is nothing to be had
		c.by = Actor{From: from(r)}
		return nil
	}
	if host := hostOf(r.Host); !d.ourHost(r, host, a.hosts) {
		return failure{http.StatusMisdirectedRequest, code.Hint(code.Usage, "[serve] allowed_hosts", "the header Host: %.100q is none of our names", host)}
	}
	if tokenInURL(r.URL) {
		return bad("send Authorization: Bearer TOKEN", "a token has no place in a URL: logs keep it")
	}
	presented := len(r.Header.Values("Authorization")) > 0 && !d.socket
	if presented && s.fails.blocked(from(r), time.Now()) {
		w.Header().Set("Retry-After", "60")
		return fail(http.StatusTooManyRequests, code.Privilege, "too many attempts")
	}
	if c.by = identify(d, a, r); c.by.Role > Nobody {
		return nil
	}
	w.Header().Set("WWW-Authenticate", "Bearer")
	w.Header().Set("Connection", "close")
	if presented {
		s.fails.add(from(r), time.Now())
		s.cfg.Audit(Entry{Time: time.Now(), By: c.by, What: "a token that is not known", Status: http.StatusUnauthorized, Err: errNobody})
	}
	return errNobody
}

// route finds what is asked for and whether the caller may ask for it.
func (c *call) route(w http.ResponseWriter) (*route, error) {
	all := routes()
	var rt *route
	var allowed []string
	rt, c.id, allowed = find(all, c.r.Method, c.r.URL.Path)
	switch {
	case rt == nil && len(allowed) > 0:
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return nil, fail(http.StatusMethodNotAllowed, code.Usage, "this path knows %s", strings.Join(allowed, ", "))
	case rt == nil, c.door.probes && !rt.probe:
		return nil, failure{http.StatusNotFound, code.Hint(code.Usage, "GET /openapi.json lists all paths", "there is no such path")}
	case !c.door.probes && c.by.Role < rt.role:
		return rt, fail(http.StatusForbidden, code.Privilege, "%s has the role %v; this takes %v", c.by.Name, c.by.Role, rt.role)
	}
	return rt, nil
}

// carryOut does what the call asks for.
func (s *Server) carryOut(w http.ResponseWriter, c *call, rt *route) (int, any, error) {
	var err error
	if c.body, err = body(w, c.r); err != nil {
		return 0, nil, err
	}
	if err := c.check(rt); err != nil {
		return 0, nil, err
	}
	if rt.stream != nil {
		return rt.status, sent{}, rt.stream(w, c)
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), s.limits.answer)
	defer cancel()
	if rt.waits {
		select {
		case s.slow <- struct{}{}:
			defer func() { <-s.slow }()
		case <-ctx.Done():
			return 0, nil, fmt.Errorf("wait for other calls to end: %w", ctx.Err())
		}
	}
	if rt.changes { // who hangs up does not stop half way what he has begun
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), s.limits.answer)
		defer cancel()
	}
	answer, err := rt.do(ctx, c)
	if r, ok := answer.(Reloaded); ok && r.State == "postponed" {
		return rt.also, answer, err
	}
	return rt.status, answer, err
}

// refuse answers that a call was not carried out. What somebody may not learn is in the log,
// under a name that he gets.
func (s *Server) refuse(w http.ResponseWriter, c *call, rt *route, err error) {
	status := statusOf(err)
	role := c.by.Role
	e := told(err, role)
	withheld := e.Error != err.Error()
	if withheld && !c.door.probes {
		e.Request = requestName()
	}
	if errors.Is(err, errTooLarge) || status == http.StatusForbidden {
		w.Header().Set("Connection", "close")
	}
	send(w, status, e)
	if rt == nil && !withheld || status == http.StatusUnauthorized {
		return
	}
	if e.Request != "" || rt != nil && rt.changes {
		entry := Entry{Time: time.Now(), Request: e.Request, By: c.by, Status: status, Err: err, ID: c.began}
		if rt != nil {
			entry.What = c.what(rt)
		}
		s.cfg.Audit(entry)
	}
}

func requestName() string {
	var b [6]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
