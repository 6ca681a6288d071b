// Package plugtest proves that a plugin keeps the promises of package plug.
//
// The checks run in two ways: under go test, one subtest each (Storage, Lock, Notify),
// and on a plugin that somebody configured, as a list of results (CheckStorage and its
// kin). Memory is a storage for tests of others, with faults to order.
package plugtest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
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
	Name   string // lower_snake, stable
	OK     bool
	Detail string // what was wrong, one line for each
}

// check is one promise.
type check[P any] struct {
	name string
	run  func(t T, p P)
}

// checkTime bounds one check run outside go test, which has a bound of its own.
const checkTime = 2 * time.Minute

// runAll runs every check on the same plugin.
func runAll[P any](ctx context.Context, checks []check[P], p P) []Result {
	var all []Result
	for _, c := range checks {
		all = append(all, runOne(ctx, c, p))
		if ctx.Err() != nil {
			break
		}
	}
	return all
}

func runOne[P any](ctx context.Context, c check[P], p P) Result {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	r := &recorder{ctx: ctx}
	done := make(chan struct{})
	go func() { // of its own, because Fatalf ends it
		defer close(done)
		c.run(r, p)
	}()
	<-done
	return Result{Name: c.name, OK: len(r.wrong) == 0, Detail: strings.Join(r.wrong, "\n")}
}

// recorder is the T outside go test. A check uses it from one goroutine.
type recorder struct {
	ctx   context.Context
	wrong []string
}

func (r *recorder) Helper()                  {}
func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Errorf(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}
