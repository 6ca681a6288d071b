package serve

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
)

// tryFor is how long the sidecar's lock is asked for: who looks for a sidecar has it for a moment.
const tryFor = 2 * time.Second

// take makes the state directory ours. An operation that was begun without us is waited for: it
// has the socket. What crashed is found and told.
func (s *Sidecar) take(ctx context.Context, works Works) (release func(), err error) {
	owner := state.Owner{PID: os.Getpid(), Operation: "sidecar", ID: "remora serve", Host: s.cfg.Host, Since: s.since}
	serve, err := patiently(ctx, tryFor, func() (*state.LockFile, error) { return state.LockServe(s.cfg.Dir, owner) })
	if err != nil {
		return nil, err
	}
	release = func() { _ = serve.Release() } // it ends with the process
	told := false
	operation, err := patiently(ctx, 0, func() (*state.LockFile, error) {
		if why := s.stopped(); why != nil {
			return nil, why
		}
		l, err := state.Lock(s.cfg.Dir, owner)
		if err != nil && code.Of(err) == code.Busy && !told {
			told = true
			s.cfg.Supervisor.Status("Waiting: " + err.Error())
			s.tell(run.KindNote, "Waiting for an operation that was begun without the sidecar: %v", err)
		}
		return l, err
	})
	if err == nil {
		defer func() { _ = operation.Release() }()
		err = s.findCrashed(ctx)
	}
	if err == nil {
		err = s.use(works)
	}
	if err != nil {
		release()
		return nil, err
	}
	return release, nil
}

// patiently tries again while somebody else has the lock: for so long, or as long as it takes.
func patiently(ctx context.Context, within time.Duration, take func() (*state.LockFile, error)) (*state.LockFile, error) {
	began := time.Now()
	for {
		l, err := take()
		if err == nil || code.Of(err) != code.Busy || within > 0 && time.Since(began) > within {
			return l, err
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// findCrashed records and tells the end of operations whose process is gone. The caller holds
// the lock file of operations.
func (s *Sidecar) findCrashed(ctx context.Context) error {
	var crashed []state.Operation
	err := s.history(ctx, func(store *state.Store) (err error) {
		crashed, err = store.MarkCrashed(ctx)
		return err
	})
	for _, o := range crashed {
		s.tell(run.KindWarning, "An earlier %s (%s) crashed in phase %q.", o.Operation, o.ID, o.Phase)
	}
	return err
}

// resume begins a restore again that the end of an earlier sidecar interrupted, if nothing else
// has been done since. One that was begun again already and whose sidecar crashed again is left
// to people. Whether the target is as it was left, and no server runs on it, the restore sees
// to.
func (s *Sidecar) resume(ctx context.Context) {
	last, err := s.Operations(ctx, 1, "")
	if err != nil || len(last) == 0 || last[0].Operation != "restore" || last[0].Request == "" {
		return
	}
	o := last[0]
	var a asked
	if err := json.Unmarshal([]byte(o.Request), &a); err != nil {
		s.tell(run.KindWarning, "Restore %s cannot be gone on with: its request cannot be read: %v", o.ID, err)
		return
	}
	switch {
	case o.State == run.Crashed && a.Resumes != "":
		s.tell(run.KindWarning, "Restore %s crashed, as %s had before: it is not begun again by itself. The target: %s.", o.ID, a.Resumes, o.Target)
		return
	case o.State != run.Crashed && (o.State != run.Cancelled || !endedBySupervisor(o.InterruptedBy)):
		return
	}
	a.Resumes = o.ID
	if o.BackupID != "" {
		a.Backup = o.BackupID // "latest" may be another one by now
	}
	s.tell(run.KindNote, "Restore %s was interrupted by the end of the sidecar: going on with it.", o.ID)
	if _, _, err := s.begin(a, "", "sidecar"); err != nil {
		s.tell(run.KindWarning, "Restore %s cannot be gone on with: %v", o.ID, err)
	}
}
