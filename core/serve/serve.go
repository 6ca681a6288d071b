// Package serve is the sidecar: a daemon beside one mysqld that carries out one operation after
// the other, for a schedule, for the people of this host and for an API.
//
//	request > job > operate.Operation > events > readers
//
// It knows no HTTP, no command line, no terminal and no plugin host: what a configuration makes
// possible is a Works, which whoever starts the sidecar makes, and a reload replaces whole.
// The state directory may be lost between any two operations: that costs history, nothing else.
package serve

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
)

// Works is what one configuration makes possible. It does not change; its methods may be called
// from any goroutine, and end when their context does.
type Works interface {
	Scheduling
	// Operation describes the operation that is asked for: its name, first phase, plan, plugins
	// and hooks. What cannot be asked for is an error with code.Usage. It does not wait.
	Operation(r api.Request) (operate.Config, error)
	// Reach connects to the server; nil if it answers.
	Reach(ctx context.Context) error
	// Settings are what is configured, secrets left out.
	Settings() map[string]any
	Backups(ctx context.Context) ([]repo.Listed, error)
	Backup(ctx context.Context, id string) (api.Backup, error)
	DeleteBackup(ctx context.Context, id string) error
}

// Supervisor is who started the daemon and wants to know how it is. Its methods do not wait.
type Supervisor interface {
	Ready()
	Reloading() // until the next Ready
	Stopping()
	Status(text string)
	Alive() // the loop came round
}

// Log takes what is told to nobody in particular. Arguments are pairs of a key and a value.
type Log interface {
	operate.Log
	Info(message string, args ...any)
}

// Config is what a sidecar needs.
type Config struct {
	Dir     string // the state directory
	Host    string
	Version string // of remora
	// DebugSync is the socket on which orders for sync points are taken while an operation runs.
	DebugSync string
	// Load reads the configuration and checks it whole, as far as it can be without beginning
	// anything. It is called at the start and for each reload.
	Load func(ctx context.Context) (Works, error)
	// Use is told which Works are in force from now on; what it refuses is not put in force. The
	// first time it opens the doors: the directory is ours, and nobody else has a socket there.
	Use func(Works) error
	// Leave closes the doors, while the directory is still ours. May be nil.
	Leave      func()
	Supervisor Supervisor
	Log        Log
	// Beat is how often the loop comes round at least; 0 is 5 s.
	Beat time.Duration
}

// Sidecar is the daemon. It fulfils api.Sidecar.
type Sidecar struct {
	cfg    Config
	since  time.Time
	events *ring
	lock   *Yield
	table  *timetable
	wake   chan struct{} // has an element when the loop is to look
	beat   atomic.Int64  // when it came round last, Unix nanoseconds
	reload chan struct{} // has an element while nobody reloads

	mu        sync.Mutex // nothing is waited for while it is held
	works     Works
	now       *job // nil while none runs
	asked     map[string]*job
	keys      []string // of asked, the oldest first
	stopping  *run.Interrupted
	postponed bool
	paused    time.Time
	server    string // "up", "away" or "unknown"
	ready     bool
}

// New makes a sidecar; Run lets it work. Yield is between its backups and the lock plugin.
func New(cfg Config, lock *Yield) *Sidecar {
	if cfg.Beat == 0 {
		cfg.Beat = 5 * time.Second
	}
	now := time.Now()
	s := &Sidecar{
		cfg: cfg, since: now, events: newRing(now), lock: lock, wake: make(chan struct{}, 1), reload: make(chan struct{}, 1),
		asked: map[string]*job{}, server: unknown,
	}
	s.table = &timetable{
		up: now, wake: make(chan struct{}, 1), works: func() Scheduling { return s.current() },
		now: s.situation, say: func(text string) { s.tell(run.KindNote, "%s", text) },
		history: func(ctx context.Context) ([]state.Operation, error) { return s.Operations(ctx, 100, "") },
		begin:   s.beginScheduled,
	}
	s.reload <- struct{}{}
	s.beat.Store(now.UnixNano())
	return s
}

// Run takes the state directory, works until Stop or the end of ctx, and returns when the
// operation that ran then has its answer. The error is why it could not begin.
func (s *Sidecar) Run(ctx context.Context) error {
	works, err := s.cfg.Load(ctx)
	if err != nil {
		return err
	}
	release, err := s.take(ctx, works)
	if err != nil {
		return err
	}
	defer release()
	s.mu.Lock()
	s.ready = true
	s.mu.Unlock()
	s.cfg.Supervisor.Ready()
	s.tell(run.KindNote, "The sidecar is ready.")
	watching, stop := context.WithCancel(ctx)
	var helpers sync.WaitGroup
	helpers.Go(func() {
		watchServer(watching, func(ctx context.Context) error { return s.current().Reach(ctx) }, s.serverIs)
	})
	s.resume(ctx)
	helpers.Go(func() { s.table.follow(watching) })
	s.loop(ctx)
	stop()
	helpers.Wait()
	s.cfg.Supervisor.Stopping()
	s.finish()
	if s.cfg.Leave != nil {
		s.cfg.Leave()
	}
	return nil
}

// serverIs notes what the server is from now on.
func (s *Sidecar) serverIs(now, before string, why error) {
	s.mu.Lock()
	s.server = now
	s.mu.Unlock()
	switch {
	case now == away:
		s.tell(run.KindWarning, "The server is away: %v", why)
	case before == away:
		s.tell(run.KindNote, "The server is there again.")
	}
	s.look()
}

// loop comes round at least every Beat. It waits for nothing and nobody.
func (s *Sidecar) loop(ctx context.Context) {
	tick := time.NewTicker(s.cfg.Beat)
	defer tick.Stop()
	for {
		s.beat.Store(time.Now().UnixNano())
		s.cfg.Supervisor.Alive()
		s.cfg.Supervisor.Status(s.statusLine())
		if s.reloadIsDue() {
			go func() { _, _ = s.Reload(ctx, api.Actor{Name: "postponed", From: "sidecar", Role: api.Admin}) }() // it tells
		}
		select {
		case <-ctx.Done():
			s.Stop(&run.Interrupted{By: "stop", Code: code.Cancelled})
			return
		case <-s.wake:
		case <-tick.C:
		}
		s.mu.Lock()
		over := s.stopping != nil
		s.mu.Unlock()
		if over {
			return
		}
	}
}

// situation is what the schedule depends on.
func (s *Sidecar) situation() (running string, paused time.Time, server string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		running = s.now.asked.Operation
	}
	return running, s.paused, s.server
}

// look lets the loop, and the schedule, look now.
func (s *Sidecar) look() {
	s.table.look()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Stop ends the sidecar: nothing is begun any more, and what runs is interrupted. The first one
// counts. It does not wait.
func (s *Sidecar) Stop(why *run.Interrupted) {
	s.mu.Lock()
	if s.stopping == nil {
		s.stopping = why
	}
	now := s.now
	s.mu.Unlock()
	if now != nil {
		now.op.Interrupt(why)
	}
	s.look()
}

// stopped is why the sidecar ends; nil while it does not.
func (s *Sidecar) stopped() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping == nil {
		return nil
	}
	return &code.Error{Code: s.stopping.Code, Err: s.stopping}
}

// Hurry is for who does not want to wait for the clean-up of what Stop interrupted.
func (s *Sidecar) Hurry() {
	if j := s.running(); j != nil {
		j.op.Hurry()
	}
}

// finishWithin bounds the clean-up of an operation that the end of the sidecar interrupted: less
// than a supervisor's patience, and more than operations need.
const finishWithin = 60 * time.Second

// finish waits for the answer of what runs.
func (s *Sidecar) finish() {
	j := s.running()
	if j == nil {
		return
	}
	select {
	case <-j.done:
		return
	case <-time.After(finishWithin):
	}
	j.op.Hurry()
	<-j.done // within a second
}

// use puts works in force.
func (s *Sidecar) use(works Works) error {
	if s.cfg.Use != nil {
		if err := s.cfg.Use(works); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.works = works
	s.table.look()
	return nil
}

func (s *Sidecar) current() Works {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.works
}

func (s *Sidecar) running() *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// tell tells something of the sidecar itself: to readers of events, and to the log.
func (s *Sidecar) tell(kind run.Kind, format string, args ...any) {
	e := run.Event{Time: time.Now(), Kind: kind, Operation: "sidecar", Message: fmt.Sprintf(format, args...)}
	s.events.add(api.Event{Event: e})
	if kind == run.KindWarning {
		s.cfg.Log.Warn(e.Message)
		return
	}
	s.cfg.Log.Info(e.Message)
}

// Events is api.Sidecar's.
func (s *Sidecar) Events(after uint64) api.Subscription { return s.events.follow(after) }

// Ready is api.Sidecar's.
func (s *Sidecar) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopping != nil:
		return errors.New("the sidecar is being stopped")
	case !s.ready:
		return errors.New("the sidecar is being started")
	}
	return nil
}

// Live is api.Sidecar's.
func (s *Sidecar) Live() error {
	quiet := time.Since(time.Unix(0, s.beat.Load()))
	if quiet > 4*s.cfg.Beat {
		return fmt.Errorf("the sidecar's loop has not come round for %v", quiet.Round(time.Second))
	}
	return nil
}

// Configuration is api.Sidecar's.
func (s *Sidecar) Configuration() map[string]any {
	if w := s.current(); w != nil {
		return w.Settings()
	}
	return map[string]any{}
}
