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
)

// Point is the name of one place. The lists in points.go are the only ones.
type Point string

// All returns every point, in the order in which an undisturbed run meets them.
func All() []Point { return slices.Concat(before, ofBackup, ofRestore, ofExport, ofPrepare, after) }

// Backup returns the points of a backup's phases.
func Backup() []Point { return slices.Clone(ofBackup) }

// Restore returns the points of a restore's phases.
func Restore() []Point { return slices.Clone(ofRestore) }

// Export returns the points of an export's phases: those of a restore without the
// preparation, and its own.
func Export() []Point {
	fetched, publish := slices.Index(ofRestore, PrepareBinlog), slices.Index(ofRestore, PublishBefore)
	return slices.Concat(ofRestore[:fetched], ofExport, ofRestore[publish:])
}

// Prepare returns the points of the phases of a preparation in place.
func Prepare() []Point {
	changing := slices.Index(ofPrepare, PrepareDestructive)
	return slices.Concat(ofPrepare[:changing], []Point{PrepareBinlog, PrepareJournal, PrepareDestructive,
		PrepareSpawn, PrepareProgress, PrepareRecovered, PrepareKept, PrepareDropped, PrepareOwned, PrepareDone})
}

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
