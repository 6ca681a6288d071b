// Package operate carries out one operation with all that surrounds it: who is told, what
// is remembered, who may interrupt it, what earlier ones left.
//
//	lock file > control socket > history > hooks > notify plugins > plan > run
//
// It knows no command line, no terminal, no signals and no plugin host: whoever starts an
// operation gives it what it needs (Config), turns signals into calls (Interrupt, Hurry) and
// waits for the one answer. A process may carry out as many as it likes; those of one state
// directory come one after the other.
//
// What fails on that way fails the run, so that every answer has the same form.
package operate

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	rtdebug "runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/control"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/core/syncpoint/debug"
)

// Config is what an operation needs. What may be nil is not wanted then.
type Config struct {
	Operation string // "backup", "restore", "export" or "prepare"
	First     string // name of its first phase: that of one that cannot even be planned
	Version   string // of remora
	// Dir is the state directory: history, lock file and control socket.
	Dir string
	// RequestedBy, RequestKey and Request are kept in the history: who asked for the operation, by
	// which key, and for what, as JSON. They are empty for a person at the command line.
	RequestedBy, RequestKey, Request string
	// NoSocket leaves the control socket out: a daemon carries the operation out, and has its own.
	NoSocket bool
	// Err is why the operation cannot begin, if that is known: it is told as any other answer,
	// and nothing else of Config is used but Operation, First, Listener, Log and DebugSync.
	Err error
	// DebugSync is the socket on which orders for sync points are taken, "" is none.
	DebugSync string

	Log      Log
	Listener Listener
	Meter    *run.Meter // a new one; may be nil
	// Patience is how long readers may take after the end; 0 is what package run gives them.
	Patience time.Duration

	// Hooks loads the scripts; notify is what they send by. May be nil.
	Hooks func(ctx context.Context, notify func(context.Context, plug.Notice) error) (Hooks, error)
	// Notifiers starts the notify plugins. May be nil.
	Notifiers func(ctx context.Context) ([]Notifier, error)
	// Plan makes the plan, once hooks and notifiers are there.
	Plan func(ctx context.Context, d *Draft) (run.Plan, error)
	// Plugins are those that Notifiers and Plan start. May be nil.
	Plugins Plugins
}

// Listener is for whom an operation is carried out: a terminal, a daemon.
type Listener interface {
	run.Reader
	// Starts comes before the first event.
	Starts(Facts)
	// Interrupted comes at once, and once, from the goroutine that interrupts.
	Interrupted(*run.Interrupted)
	// Closed comes when all is given back; not after a clean-up that was left.
	Closed()
}

// Facts are what is known of an operation when it starts.
type Facts struct {
	ID            string   `json:"-"`
	Err           error    `json:"-"`               // why it cannot begin, if that is known by now
	Named         []string `json:"facts,omitempty"` // name=value, for people
	ServerUUID    string   `json:"server_uuid,omitempty"`
	ServerVersion string   `json:"server_version,omitempty"`
	Backup        string   `json:"backup,omitempty"` // that is read
	Target        string   `json:"target,omitempty"`
	Plugins       []string `json:"plugins,omitempty"` // kind:name
}

// Hooks are the scripts of users.
type Hooks interface {
	run.Reader
	Gate(ctx context.Context, e run.Event) error
	Close(ctx context.Context)
}

// Plugins are the processes that were started for an operation.
type Plugins interface {
	Names() []string // kind:name of each
	Close(ctx context.Context) error
}

// Log takes what is no event of the run. Arguments are pairs of a key and a value.
type Log interface {
	Warn(message string, args ...any)
	Error(message string, args ...any)
}

// Operation is one that was started.
type Operation struct {
	cfg    Config
	draft  Draft
	ctx    context.Context // ends when it is interrupted
	cancel context.CancelCauseFunc
	answer chan error

	first   sync.Once                   // interruption
	hurry   chan struct{}               // closed when somebody wants the end at once
	rush    sync.Once                   // closes hurry
	running atomic.Pointer[run.Running] // nil before the run

	lock     *state.LockFile
	control  *control.Server
	hooks    Hooks
	notifies atomic.Pointer[[]*notifier]
	debug    *debug.Server
}

// Start begins the operation. The caller calls Wait, once.
func Start(ctx context.Context, cfg Config) *Operation {
	if cfg.Meter == nil {
		cfg.Meter = new(run.Meter)
	}
	o := &Operation{cfg: cfg, answer: make(chan error, 1), hurry: make(chan struct{})}
	o.draft.Row = state.Operation{Operation: cfg.Operation, Started: time.Now(), PID: os.Getpid(), RemoraVersion: cfg.Version,
		RequestedBy: cfg.RequestedBy, RequestKey: cfg.RequestKey, Request: cfg.Request}
	o.ctx, o.cancel = context.WithCancelCause(ctx)
	go func() { o.answer <- o.do(o.ctx) }()
	return o
}

func (o *Operation) do(ctx context.Context) error {
	ctx, err := o.debugSync(ctx)
	if err = cmp.Or(err, o.cfg.Err); err == nil {
		err = guard(func() error { return o.prepare(ctx) })
	}
	var plan run.Plan
	if err == nil {
		err = guard(func() (err error) {
			plan, err = o.cfg.Plan(ctx, &o.draft)
			return err
		})
	}
	if err == nil {
		err = syncpoint.Between(ctx, syncpoint.OperationPlanned)
	}
	var gate func(context.Context, run.Event) error
	switch {
	case err != nil:
		plan = o.failed(err)
	case o.hooks != nil:
		gate = o.hooks.Gate
	}
	o.begin(ctx, plan.ID, err)
	opts := run.Options{Readers: o.readers(), Opening: o.draft.opening, Gate: gate, Meter: o.cfg.Meter, Hurry: o.hurry, DrainWithin: o.cfg.Patience, RequestedBy: o.cfg.RequestedBy}
	if o.draft.store != nil {
		opts.Journal = o.draft.store.Journal
	}
	running := run.Start(ctx, plan, opts)
	o.running.Store(running)
	err = running.Wait()
	o.close(context.WithoutCancel(ctx))
	o.cfg.Listener.Closed()
	return err
}

// guard makes a panic of f its error: those who wait get their answer.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, rtdebug.Stack())
		}
	}()
	return f()
}

// failed is the plan of an operation that could not be planned.
func (o *Operation) failed(why error) run.Plan {
	id := o.draft.Row.ID
	if id == "" {
		id, _ = repo.NewID(time.Now(), rand.Reader)
	}
	plan := run.Plan{Operation: o.cfg.Operation, ID: id, Phases: []run.Phase{{Name: o.cfg.First}}}
	plan.Do = func(r *run.Run) (any, error) {
		return run.Enter(r, o.cfg.First, func(context.Context, *run.Task) (any, error) { return nil, why })
	}
	if o.draft.store == nil {
		// Nobody has heard of this operation yet: an interruption is all there is to say.
		plan.Aborted = func() string {
			if o.why() != nil {
				return ""
			}
			return "Operation aborted"
		}
		return plan
	}
	plan.Left = func() run.Left { return run.Left{Text: "Nothing was begun."} }
	return plan
}

// begin writes the row of the history and says how the operation starts.
func (o *Operation) begin(ctx context.Context, id string, failed error) {
	d := &o.draft
	d.facts = append([]string{"id=" + id}, d.facts...)
	if o.cfg.Plugins != nil {
		d.Row.Plugins = o.cfg.Plugins.Names()
	}
	if len(d.Row.Plugins) > 0 {
		d.Fact("plugins", strings.Join(d.Row.Plugins, "+"))
	}
	facts := Facts{ID: id, Err: failed, Named: d.facts, ServerUUID: d.Row.ServerUUID, ServerVersion: d.Row.ServerVersion, Target: d.Row.Target, Plugins: d.Row.Plugins}
	if d.Row.BackupID != id {
		facts.Backup = d.Row.BackupID
	}
	o.cfg.Listener.Starts(facts)
	d.Row.ID = id
	if d.store == nil {
		return
	}
	if err := d.store.Begin(context.WithoutCancel(ctx), d.Row); err != nil {
		o.cfg.Log.Error("the history does not know this operation", "error", err)
	}
	_ = syncpoint.At(ctx, syncpoint.OperationBegun)
}

func (o *Operation) readers() []run.Reader {
	all := []run.Reader{o.cfg.Listener}
	if o.draft.store != nil {
		all = append(all, o.draft.store)
	}
	if o.hooks != nil {
		all = append(all, o.hooks)
	}
	if n := o.notifies.Load(); n != nil {
		for _, to := range *n {
			all = append(all, to)
		}
	}
	return all
}

// debugSync lets a socket command the sync points of the operation.
func (o *Operation) debugSync(ctx context.Context) (context.Context, error) {
	if o.cfg.DebugSync == "" {
		return ctx, nil
	}
	s, err := debug.Listen(ctx, o.cfg.DebugSync)
	if err != nil {
		return ctx, code.Default(code.Usage, err)
	}
	o.debug = s
	return syncpoint.With(ctx, s), nil
}

// why is what the operation was interrupted by; nil if it was not.
func (o *Operation) why() *run.Interrupted {
	var i *run.Interrupted
	errors.As(context.Cause(o.ctx), &i)
	return i
}
