package serve

import (
	"context"
	"time"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
)

// unsafe is the phase during which nothing is reloaded, "" if it is another one. Hours of
// fetching and recovering are not put at risk for a setting.
func (s *Sidecar) unsafe() string {
	j := s.running()
	if j == nil {
		return ""
	}
	now := j.meter.Read()
	if now.State == "" && (now.Phase == phaseFetch || now.Phase == phasePrepare) {
		return now.Phase
	}
	return ""
}

// reloadIsDue reports whether a reload was postponed and can be done now.
func (s *Sidecar) reloadIsDue() bool {
	s.mu.Lock()
	due := s.postponed
	s.mu.Unlock()
	if !due || s.unsafe() != "" {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	due, s.postponed = s.postponed, false
	return due
}

// Reload is api.Sidecar's. A configuration that is wrong, in whatever way can be known, changes
// nothing; the error says what is wrong with it. What runs keeps what it began with.
func (s *Sidecar) Reload(ctx context.Context, by api.Actor) (api.Reloaded, error) {
	select {
	case <-s.reload:
	case <-ctx.Done():
		return api.Reloaded{}, ctx.Err()
	}
	defer func() { s.reload <- struct{}{} }()
	if err := s.Ready(); err != nil {
		return api.Reloaded{}, s.refused(code.New(code.Busy, "%w", err))
	}
	s.cfg.Supervisor.Reloading()
	defer s.cfg.Supervisor.Ready()
	works, err := s.cfg.Load(ctx)
	if err != nil {
		return api.Reloaded{}, s.refused(err)
	}
	if phase := s.unsafe(); phase != "" {
		s.mu.Lock()
		s.postponed = true
		s.mu.Unlock()
		s.look() // the phase may have ended meanwhile
		const why = "a restore would be put at risk"
		s.tell(run.KindNote, "The reload (%s) is postponed until the phase %s has ended: %s.", by.Name, phase, why)
		return api.Reloaded{State: "postponed", Phase: phase, Reason: why}, nil
	}
	if err := s.use(works); err != nil {
		return api.Reloaded{}, s.refused(err)
	}
	s.tell(run.KindNote, "The configuration was reloaded (%s).", by.Name)
	return api.Reloaded{State: "done"}, nil
}

func (s *Sidecar) refused(err error) error {
	s.tell(run.KindWarning, "The reload was refused, the configuration of before stays in force: %v", err)
	return err
}

// Pause is api.Sidecar's.
func (s *Sidecar) Pause(_ context.Context, until time.Time, by api.Actor) error {
	s.mu.Lock()
	s.paused = until
	s.mu.Unlock()
	s.look()
	if until.IsZero() {
		s.tell(run.KindNote, "The schedule goes on (%s).", who(by))
		return nil
	}
	s.tell(run.KindNote, "The schedule is paused until %s (%s).", until.UTC().Format(time.RFC3339), who(by))
	return nil
}

// mostYield bounds what one call can ask for.
const mostYield = 24 * time.Hour

// Yield is api.Sidecar's.
func (s *Sidecar) Yield(_ context.Context, d time.Duration, by api.Actor) (api.Yielded, error) {
	if d <= 0 || d > mostYield {
		return api.Yielded{}, code.New(code.Usage, "yield for %v: want more than nothing and at most %v", d, mostYield)
	}
	held, until := s.lock.For(d)
	s.tell(run.KindNote, "%s: no lock is asked for until %s.", who(by), until.UTC().Format("15:04:05 MST"))
	return api.Yielded{Held: held, Until: until}, nil
}
