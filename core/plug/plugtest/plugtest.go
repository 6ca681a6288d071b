// Package plugtest proves that a plugin keeps the promises of package plug.
//
// The checks run in two ways: under go test, one subtest each (Storage, Lock, Notify),
// and on a plugin that somebody configured, as results that come one by one (CheckStorage
// and its kin; package kit asks for the promises of a process too). Memory is a storage for tests of others, with faults to order.
package plugtest

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// T is what a check needs to speak: a *testing.T has it.
type T interface {
	Helper()
	Context() context.Context
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any) // does not return
}

// Testing is a *testing.T; written so that this package, and with it the command line,
// does not need package testing.
type Testing[S any] interface {
	T
	Run(name string, f func(S)) bool
}

// Result is what became of one check.
type Result struct {
	Name    string // lower_snake, stable
	OK      bool
	Detail  string // what was wrong, one line for each
	Endless bool   // it still runs: what it works on cannot be used any more
}

// check is one promise.
type check[P any] struct {
	name string
	run  func(t T, p P)
}

// checkTime bounds one check run outside go test, which has a bound of its own, and grace
// is what it gets to end when it is told to.
const (
	checkTime = 2 * time.Minute
	grace     = 10 * time.Second
)

// runAll runs the checks named, or every one, on the same plugin, and yields each result
// when it is known. Behind a check that does not end nothing can be told apart.
func runAll[P any](ctx context.Context, checks []check[P], p P, only []string) iter.Seq[Result] {
	return func(yield func(Result) bool) {
		for _, c := range checks {
			if len(only) > 0 && !slices.Contains(only, c.name) {
				continue
			}
			r := Run(ctx, c.name, func(t T) { c.run(t, p) })
			if !yield(r) || r.Endless || ctx.Err() != nil {
				return
			}
		}
	}
}

// Run makes a check of f, which must end when its context does; it is left alone if not.
func Run(ctx context.Context, name string, f func(T)) Result {
	return run(ctx, name, checkTime, grace, f)
}

func run(ctx context.Context, name string, within, grace time.Duration, f func(T)) Result {
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("took longer than %v", within))
	defer cancel()
	r := &recorder{ctx: ctx}
	done := make(chan struct{})
	go func() { // of its own, because Fatalf ends it
		defer close(done)
		f(r)
	}()
	endless := false
	select {
	case <-done:
	case <-ctx.Done():
		r.Errorf("%v", context.Cause(ctx))
		select {
		case <-done:
		case <-time.After(grace):
			endless = true
			r.Errorf("it did not end when it was cancelled either: the rest is not tried")
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return Result{Name: name, OK: len(r.wrong) == 0, Detail: strings.Join(r.wrong, "\n"), Endless: endless}
}

// recorder is the T outside go test.
type recorder struct {
	ctx context.Context

	mu    sync.Mutex
	wrong []string
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}
