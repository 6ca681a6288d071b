package serve

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/run/runtest"
	"github.com/remora-backup/remora/core/schedule"
)

var anna = api.Actor{Name: "anna", From: "socket", Role: api.Admin}

// works are made of functions.
type works struct {
	name  string
	plan  func(id string) run.Plan // of any operation
	reach atomic.Pointer[func() error]
	log   *logs
	times *schedule.Schedule

	newest time.Time     // backup of the group
	hold   chan struct{} // what an operation needs is given back when it is closed
}

func (w *works) Operation(r api.Request) (operate.Config, error) {
	if r.Operation == "dance" {
		return operate.Config{}, code.New(code.Usage, "operation %q: one of backup, restore", r.Operation)
	}
	return operate.Config{Operation: r.Operation, First: "first", Log: w.log,
		Plan: func(_ context.Context, d *operate.Draft) (run.Plan, error) {
			d.Row.Target, d.Row.BackupID = r.Dir, "20261120T221500Z-7f3a"
			if hold := w.hold; hold != nil {
				d.Closing(func() error { <-hold; return nil })
			}
			p := w.plan(d.Row.ID)
			p.Operation = r.Operation
			return p, nil
		}}, nil
}

func (w *works) Schedule(context.Context) (*schedule.Schedule, error) { return w.times, nil }

func (w *works) Stored(context.Context) ([]schedule.Ran, time.Time, error) {
	return nil, w.newest, nil
}

func (w *works) Role(context.Context) (schedule.Role, error) { return schedule.Role{}, nil }

func (w *works) Reach(context.Context) error {
	if reach := w.reach.Load(); reach != nil {
		return (*reach)()
	}
	return nil
}

func (w *works) Settings() map[string]any                           { return map[string]any{"name": w.name} }
func (w *works) Backups(context.Context) ([]repo.Listed, error)     { return nil, nil }
func (w *works) Backup(context.Context, string) (api.Backup, error) { return api.Backup{}, nil }
func (w *works) DeleteBackup(context.Context, string) error         { return nil }

type logs struct {
	mu  sync.Mutex
	all []string
}

func (l *logs) say(message string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, fmt.Sprint(append([]any{message}, args...)...))
}

func (l *logs) Info(m string, args ...any)  { l.say(m, args...) }
func (l *logs) Warn(m string, args ...any)  { l.say("warning: "+m, args...) }
func (l *logs) Error(m string, args ...any) { l.say("error: "+m, args...) }

func (l *logs) has(t *testing.T, part string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !strings.Contains(strings.Join(l.all, "\n"), part) {
		t.Errorf("nobody said %q, but\n%s", part, strings.Join(l.all, "\n"))
	}
}

// boss is a Supervisor.
type boss struct {
	alive, reloading, ready atomic.Int32
	hold                    atomic.Pointer[chan struct{}] // the loop, if it is not nil
}

func (b *boss) Ready()        { b.ready.Add(1) }
func (b *boss) Reloading()    { b.reloading.Add(1) }
func (b *boss) Stopping()     {}
func (b *boss) Status(string) {}

func (b *boss) Alive() {
	b.alive.Add(1)
	if hold := b.hold.Load(); hold != nil {
		<-*hold
	}
}

// daemon is a sidecar under test.
type daemon struct {
	*Sidecar
	log   *logs
	boss  *boss
	over  chan error
	works *works // what is loaded next
	bad   error  // why nothing can be loaded
}

// start starts a sidecar in dir; it is stopped when the test ends.
func start(t *testing.T, dir string, plan func(id string) run.Plan) *daemon {
	t.Helper()
	d := &daemon{log: new(logs), boss: new(boss), over: make(chan error, 1)}
	d.works = &works{name: "first", plan: plan, log: d.log}
	d.Sidecar = New(Config{
		Dir: dir, Host: "here", Version: "v1", Supervisor: d.boss, Log: d.log,
		Load: func(context.Context) (Works, error) { return d.works, d.bad },
	}, new(Yield))
	go func() { d.over <- d.Run(t.Context()) }()
	synctest.Wait()
	t.Cleanup(func() { d.end() })
	return d
}

// end stops the sidecar as its supervisor does, and returns how it ended.
func (d *daemon) end() error {
	d.Stop(&run.Interrupted{By: "SIGTERM", Code: code.SIGTERM})
	err := <-d.over
	d.over <- err
	return err
}

func (d *daemon) begin(t *testing.T, operation string) api.Started {
	t.Helper()
	got, err := d.Start(t.Context(), api.Request{Operation: operation, Dir: "/t"}, anna)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// steps are phases that say where they are, and go on when they are told to.
type steps struct {
	at chan *run.Task
	on chan error
}

func newSteps() *steps { return &steps{make(chan *run.Task), make(chan error)} }

func (s *steps) plan(operation string, phases ...string) func(string) run.Plan {
	var all []runtest.Step
	for _, name := range phases {
		all = append(all, runtest.Phase(name, s.do))
	}
	return func(id string) run.Plan { return runtest.Plan(operation, id, all...) }
}

func (s *steps) do(ctx context.Context, task *run.Task) error {
	select {
	case s.at <- task:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-s.on:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var errBroken = errors.New("it broke")
