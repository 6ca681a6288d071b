package host

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/plugins/internal/wire"
)

var errNoAnswer = errors.New("no answer")

// detach returns a context that ends with ctx but does not tell the plugin a deadline:
// whose patience ended must be seen here, and the plugin's clock could be first.
func detach(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	inner, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	if ctx.Err() != nil {
		cancel(context.Cause(ctx)) // AfterFunc would, too, but perhaps when the plugin has been asked
	}
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	return inner, func(cause error) {
		stop()
		cancel(cause)
	}
}

// call makes one call that must be answered within limit: a plugin that is not able to is
// killed, because nothing it says later could be trusted to be about this call.
func (p *Plugin) call(ctx context.Context, what string, limit time.Duration, do func(context.Context) error) error {
	inner, cancel := detach(ctx)
	defer cancel(nil)
	timer := time.AfterFunc(limit, func() { cancel(errNoAnswer) })
	defer timer.Stop()
	err := do(inner)
	if err != nil && context.Cause(inner) == errNoAnswer {
		return p.hang(fmt.Sprintf("no answer to %s within %v", what, limit))
	}
	if err != nil {
		return p.explain(ctx, what, err)
	}
	return nil
}

// hang kills the plugin and returns the error that says so.
func (p *Plugin) hang(why string) error {
	p.proc.kill(why)
	p.proc.goneSoon()
	return p.coded(fmt.Errorf("%s %s", p.label, p.proc.end()))
}

// explain makes the error of a call or a socket what it means to the caller.
func (p *Plugin) explain(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s %s: %w", p.label, what, context.Cause(ctx))
	}
	s, remote := status.FromError(err)
	if broken := !remote || s.Code() == codes.Unavailable || s.Code() == codes.Canceled; broken && p.proc.goneSoon() {
		return p.coded(fmt.Errorf("%s %s", p.label, p.proc.end()))
	}
	return p.coded(fmt.Errorf("%s: %w", p.label, wire.FromStatus(err)))
}

// coded gives err the exit code it has for the command line.
func (p *Plugin) coded(err error) error {
	c, hint := code.Storage, ""
	switch {
	case errors.Is(err, plug.ErrNoSpace):
		c = code.NoSpace
	case p.spec.Kind == Lock && errors.Is(err, plug.ErrPermission):
		c = code.Privilege
	case p.spec.Kind == Lock:
		c = code.Lock
	case p.spec.Kind == Storage && errors.Is(err, plug.ErrPermission):
		hint = "the user that runs remora must be able to read the storage, and for a backup to write it: for the fs plugin, sudo chown -R USER PATH"
	}
	if hint != "" {
		return code.Hint(c, hint, "%w", err)
	}
	return code.Default(c, err)
}
