package run

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Task is the handle with which a phase speaks to its run. Its methods may be called
// from any goroutine of the phase.
type Task struct {
	r     *runner
	phase string
}

// Note tells something worth knowing.
func (t *Task) Note(format string, args ...any) {
	t.r.emit(Event{Kind: KindNote, Message: fmt.Sprintf(format, args...)})
}

// Warn tells something that needs attention; a run with warnings ends as
// complete_with_warnings.
func (t *Task) Warn(format string, args ...any) {
	t.r.warn(fmt.Sprintf(format, args...))
}

// Fail reports an error at once and ends the context of the phases with it: for what works
// beside them, so that an interruption that comes later does not come first. In a clean-up
// it adds one of its errors and ends nothing.
func (t *Task) Fail(err error) { t.r.failNow(err) }

// Destructive says that existing data will be changed from now on; when it returns nil that
// is remembered even if the process ends at once.
func (t *Task) Destructive(ctx context.Context) error {
	r := t.r
	r.mu.Lock()
	e := r.stampLocked(Event{Kind: KindNote, Message: "Data change begins.", Destructive: true})
	r.mu.Unlock()
	if r.opts.Journal != nil {
		if err := r.opts.Journal(context.WithoutCancel(ctx), e); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changing = true
	r.emitLocked(e)
	return nil
}

// Locked says which session of the server holds the lock since now.
func (t *Task) Locked(connection uint64) {
	t.r.emit(Event{Kind: KindNote, Message: "Server locked.", LockConnection: connection})
}

// Databases names the databases concerned; every later event carries them.
func (t *Task) Databases(names []string) {
	t.r.mu.Lock()
	defer t.r.mu.Unlock()
	t.r.databases = names
	t.r.meter.concerns(names)
}

// Commit marks the point after which nothing can undo the operation: an interruption
// or an error that arrives later changes nothing. The end of the last phase is one, too.
func (t *Task) Commit() { t.r.setCommitted() }

// Progress is how far a phase is. Percent is nil when it begins.
type Progress struct {
	Percent   *int
	LSN       uint64
	TargetLSN uint64
	ETA       time.Duration // 0 if unknown
}

// Progress tells a progress event if the whole percent changed: the first of a phase
// carries none, then each percent is told at most once and never goes back.
func (t *Task) Progress(p Progress) {
	r := t.r
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != t.phase {
		return
	}
	e := Event{Kind: KindProgress, LSN: p.LSN, TargetLSN: p.TargetLSN}
	if p.ETA > 0 {
		s := p.ETA.Seconds()
		e.ETASeconds = &s
	}
	if !r.flipped {
		r.flipped = true
		r.emitLocked(e)
	}
	if p.LSN != r.lsn {
		r.lsn = p.LSN
		r.meter.moved.Add(1)
	}
	if p.Percent == nil {
		return
	}
	percent := min(max(*p.Percent, 0), 100)
	if r.percent != nil && percent <= *r.percent {
		return
	}
	r.percent = &percent
	r.meter.percent(percent, p.ETA)
	e.Percent = &percent
	r.emitLocked(e)
}

// Total says how many bytes the phase will move; the percent of Advance is relative to
// it. It may grow while the phase runs.
func (t *Task) Total(bytes int64) {
	t.r.meter.total.Store(bytes)
	t.Progress(Progress{})
}

// Advance says that n more bytes were moved.
func (t *Task) Advance(n int64) {
	done, total := t.r.meter.done.Add(n), t.r.meter.total.Load()
	if total <= 0 {
		return
	}
	p := int(min(done*100/total, 100))
	if t.r.meter.shown.Swap(int32(p)) == int32(p) {
		return
	}
	t.Progress(Progress{Percent: &p, ETA: t.r.meter.eta()})
}

// Meter is a live view of a run for a terminal or a status page: plain numbers, read at
// any time without waiting for the run.
type Meter struct {
	done, total atomic.Int64
	shown       atomic.Int32
	moved       atomic.Int64 // grows with every sign of life but the bytes

	mu   sync.Mutex
	now  Reading // its bytes are those above
	past map[string]Reading
}

// Reading is what a Meter shows at one moment. Bytes are those of the phase.
type Reading struct {
	Phase       string
	Since       time.Time // when the phase began
	Done, Total int64     // bytes; Total is 0 if the phase does not count bytes
	Percent     *int
	ETA         time.Duration // 0 if unknown
	Databases   []string      // concerned, once they are known; not to be changed
	State       State         // how the run ended; "" before
}

// Read returns the present reading.
func (m *Meter) Read() Reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := m.now
	r.Done, r.Total = m.done.Load(), m.total.Load()
	return r
}

// Last returns the last reading of a phase that was left, the zero Reading if none was.
func (m *Meter) Last(phase string) Reading {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.past[phase]
}

func (m *Meter) enter(phase string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.past == nil {
		m.past = map[string]Reading{}
	}
	left := m.now
	left.Done, left.Total = m.done.Load(), m.total.Load()
	m.past[left.Phase] = left
	m.done.Store(0)
	m.total.Store(0)
	m.shown.Store(-1)
	m.moved.Add(1)
	m.now.Phase, m.now.Since, m.now.Percent, m.now.ETA = phase, time.Now(), nil, 0
}

func (m *Meter) percent(p int, eta time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.moved.Add(1)
	m.now.Percent, m.now.ETA = &p, eta
}

func (m *Meter) concerns(databases []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.Databases = databases
}

func (m *Meter) end(s State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.State = s
}

// eta extrapolates from the bytes moved since the phase began.
func (m *Meter) eta() time.Duration {
	m.mu.Lock()
	since := time.Since(m.now.Since)
	m.mu.Unlock()
	done, total := m.done.Load(), m.total.Load()
	if done <= 0 || total <= done || since < time.Second {
		return 0
	}
	return time.Duration(float64(since) * float64(total-done) / float64(done))
}
