package serve

import (
	"context"
	"time"
)

// What the server is.
const (
	unknown = "unknown"
	up      = "up"
	away    = "away"
)

// The server is looked at this often: while it is there, and while it is away at first and at
// last.
const (
	lookUp     = 30 * time.Second
	lookAway   = time.Second
	lookLately = 30 * time.Second
	lookWithin = 5 * time.Second
)

// watchServer tells is, each time that changes, whether the server is there, or why it is not,
// until ctx ends. One that is away is waited for, ever more patiently.
func watchServer(ctx context.Context, reach func(context.Context) error, is func(now, before string, why error)) {
	before := unknown
	for wait := lookAway; ; {
		err := within(ctx, lookWithin, reach)
		if ctx.Err() != nil {
			return
		}
		now, next := up, lookUp
		if err != nil {
			now, next = away, wait
			wait = min(2*wait, lookLately)
		} else {
			wait = lookAway
		}
		if now != before {
			is(now, before, err)
			before = now
		}
		select {
		case <-time.After(next):
		case <-ctx.Done():
			return
		}
	}
}

func within(ctx context.Context, d time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return f(ctx)
}
