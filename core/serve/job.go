package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/operate"
	"github.com/remora-backup/remora/core/run"
)

// job is one operation of the sidecar, from the request to the answer. It is the
// operate.Listener of it.
type job struct {
	s     *Sidecar
	asked asked
	key   string // may be empty
	by    string // "api:NAME", "schedule"
	op    *operate.Operation
	meter *run.Meter

	begun   chan struct{} // closed when it has an id, or cannot begin
	once    sync.Once     // closes begun
	facts   operate.Facts // known when begun is closed
	fetches atomic.Int32  // base-backup operations that have begun
	done    chan struct{} // closed when it has its answer
	err     error         // the answer
}

// who names somebody as the history does.
func who(by api.Actor) string {
	if by.From == "sidecar" {
		return by.Name
	}
	return "api:" + by.Name
}

// begin starts the operation and returns at once; with a key that is known it is the one of
// then. The error carries code.Busy while another one runs.
func (s *Sidecar) begin(a asked, key, by string) (j *job, repeated bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.asked[key]; key != "" && known != nil {
		if known.asked != a {
			return nil, false, api.ErrReused
		}
		return known, true, nil
	}
	switch {
	case s.stopping != nil:
		return nil, false, code.New(code.Busy, "begin a %s: the sidecar is being stopped", a.Operation)
	case s.works == nil || !s.ready:
		return nil, false, code.New(code.Busy, "begin a %s: the sidecar is being started", a.Operation)
	case s.now != nil:
		return nil, false, code.Hint(code.Busy, "wait for it, or remora cancel", "%s is running", s.now.name())
	}
	cfg, err := s.works.Operation(a.request())
	if err != nil {
		return nil, false, err
	}
	text, err := json.Marshal(a)
	if err != nil {
		return nil, false, err
	}
	j = &job{s: s, asked: a, key: key, by: by, meter: new(run.Meter), begun: make(chan struct{}), done: make(chan struct{})}
	cfg.Dir, cfg.Version, cfg.DebugSync, cfg.NoSocket = s.cfg.Dir, s.cfg.Version, s.cfg.DebugSync, true
	cfg.Listener, cfg.Meter = j, j.meter
	cfg.RequestedBy, cfg.RequestKey, cfg.Request = by, key, string(text)
	j.op = operate.Start(context.Background(), cfg)
	s.now = j
	s.remember(key, j)
	go j.wait()
	return j, false, nil
}

// mostKeys is how many keys are remembered without the history.
const mostKeys = 1000

// remember keeps what was begun for a key. The caller holds mu.
func (s *Sidecar) remember(key string, j *job) {
	if key == "" {
		return
	}
	s.asked[key], s.keys = j, append(s.keys, key)
	if len(s.keys) > mostKeys {
		delete(s.asked, s.keys[0])
		s.keys = s.keys[1:]
	}
}

// wait waits for the answer, and makes room for the next operation.
func (j *job) wait() {
	j.err = j.op.Wait()
	j.once.Do(func() { close(j.begun) })
	if j.err != nil {
		j.s.cfg.Log.Error("operation failed", "operation", j.asked.Operation, "id", j.facts.ID, "by", j.by, "error", j.err)
	} else {
		j.s.cfg.Log.Info("operation completed", "operation", j.asked.Operation, "id", j.facts.ID, "by", j.by)
	}
	j.s.mu.Lock()
	j.s.now = nil
	if j.notBegun() != nil && j.s.asked[j.key] == j {
		delete(j.s.asked, j.key) // whoever asks again may begin it
	}
	j.s.mu.Unlock()
	close(j.done)
	j.s.look()
}

// notBegun is why nothing was begun: somebody else has the lock file, and the history does not
// know of it. It is asked when begun is closed.
func (j *job) notBegun() error {
	if code.Of(j.facts.Err) == code.Busy {
		return j.facts.Err
	}
	return nil
}

// name is the operation in words.
func (j *job) name() string {
	select {
	case <-j.begun:
		return fmt.Sprintf("%s %s (%s)", j.asked.Operation, j.facts.ID, j.by)
	default:
		return fmt.Sprintf("a %s (%s)", j.asked.Operation, j.by)
	}
}

// id is "" while it has none.
func (j *job) id() string {
	select {
	case <-j.begun:
		return j.facts.ID
	default:
		return ""
	}
}

// Starts is operate.Listener's.
func (j *job) Starts(f operate.Facts) {
	j.once.Do(func() {
		j.facts = f
		close(j.begun)
	})
}

// Event is run.Reader's.
func (j *job) Event(_ context.Context, e run.Event) {
	if e.Kind == run.KindStart {
		e.Result = j.facts
	}
	if e.Kind == run.KindPhase && e.Phase == phaseFetch {
		j.fetches.Add(1)
	}
	if e.Kind == run.KindProgress {
		e.Databases = nil // thousands of names, hundreds of times: the other events have them
	}
	j.s.events.add(api.Event{Event: e})
	if e.Kind == run.KindPhase {
		j.s.look() // what is postponed may be done now
	}
}

// Interrupted and Closed are operate.Listener's.
func (j *job) Interrupted(*run.Interrupted) {}
func (j *job) Closed()                      {}

// answerWithin bounds how long a request waits for the id of what it began.
const answerWithin = 25 * time.Second

// Start is api.Sidecar's.
func (s *Sidecar) Start(ctx context.Context, r api.Request, by api.Actor) (api.Started, error) {
	if r.Key != "" {
		known, err := s.requested(ctx, r)
		if err != nil {
			return api.Started{}, err
		}
		if known != nil {
			return *known, nil
		}
	}
	j, repeated, err := s.begin(askedBy(r), r.Key, who(by))
	for code.Of(err) == code.Busy && s.ending(ctx) {
		j, repeated, err = s.begin(askedBy(r), r.Key, who(by))
	}
	if err != nil {
		return api.Started{}, err
	}
	select {
	case <-j.begun:
	case <-time.After(answerWithin):
		return api.Started{}, code.Hint(code.Unclassified, "GET /status names it", "the %s was begun and has no id yet: storage or server answer slowly", r.Operation)
	case <-ctx.Done():
		return api.Started{}, ctx.Err()
	}
	if err := j.notBegun(); err != nil {
		return api.Started{}, err
	}
	return api.Started{ID: j.facts.ID, Operation: r.Operation, Repeated: repeated}, nil
}

// beginScheduled begins what is due. It has not begun while an operation beside the sidecar has
// the lock file.
func (s *Sidecar) beginScheduled(a asked) error {
	j, _, err := s.begin(a, "", "schedule")
	if err != nil {
		return err
	}
	select {
	case <-j.begun:
		return j.notBegun()
	case <-time.After(answerWithin):
		return nil
	}
}

// ending waits for an operation that has told its end and still gives back what it took: who
// heard of the end may begin the next. It reports false if none does that.
func (s *Sidecar) ending(ctx context.Context) bool {
	j := s.running()
	if j == nil || j.meter.Read().State == "" {
		return false
	}
	select {
	case <-j.done:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// Cancel is api.Sidecar's.
func (s *Sidecar) Cancel(ctx context.Context, id string, by api.Actor) (api.Status, error) {
	j := s.running()
	if j == nil || id != "" && id != j.id() {
		if id == "" {
			return api.Status{}, fmt.Errorf("nothing is running: %w", api.ErrEnded)
		}
		if _, err := s.Operation(ctx, id); err != nil {
			return api.Status{}, err
		}
		return api.Status{}, fmt.Errorf("operation %s %w", id, api.ErrEnded)
	}
	if !j.op.Cancel(who(by)) {
		return api.Status{}, fmt.Errorf("%s %w", j.name(), api.ErrEnded)
	}
	return s.Status(), nil
}
