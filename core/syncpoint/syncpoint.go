// Package syncpoint is the named places where an operation can be held from
// outside.
//
// A point costs one context look-up when no controller is there, which is always but
// under --debug-sync. Tests use them to stop any goroutine where an interruption means
// something else than a step earlier: pause it, resume it, fail it, or kill the process.
package syncpoint

import (
	"context"
	"slices"
	"strings"
)

// Point is the name of one place. The lists in points.go are the only ones.
type Point string

// Phase is the short name of the part of an operation that the point lies in.
func (p Point) Phase() string {
	phase, _, _ := strings.Cut(string(p), ".")
	return phase
}

// All returns every point.
func All() []Point { return anyOperation.Points() }

// Known reports whether p is in the list.
func Known(p Point) bool { return slices.Contains(All(), p) }

// Controller decides what happens at a point: At returns at once, later, or with an
// error that the caller takes for its own.
type Controller interface {
	At(ctx context.Context, p Point) error
}

type key struct{}

// With returns a context whose points ask c.
func With(ctx context.Context, c Controller) context.Context {
	return context.WithValue(ctx, key{}, c)
}

// At is the place itself: if err := syncpoint.At(ctx, syncpoint.CopyExtent); err != nil.
func At(ctx context.Context, p Point) error {
	c, ok := ctx.Value(key{}).(Controller)
	if !ok {
		return nil
	}
	return c.At(ctx, p)
}

// Between is At between two steps of which nothing waits: an interruption is looked for as well.
func Between(ctx context.Context, p Point) error {
	if err := At(ctx, p); err != nil {
		return err
	}
	return context.Cause(ctx)
}
