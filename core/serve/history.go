package serve

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/remora-backup/remora/core/api"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
)

// history reads from the state as it is at the moment: it may have vanished since the last look.
func (s *Sidecar) history(ctx context.Context, read func(*state.Store) error) error {
	store, err := state.Open(ctx, s.cfg.Dir)
	if err != nil {
		return err
	}
	defer store.Close()
	return read(store)
}

// Operations is api.Sidecar's.
func (s *Sidecar) Operations(ctx context.Context, limit int, before string) (all []state.Operation, err error) {
	err = s.history(ctx, func(store *state.Store) error {
		all, err = store.Recent(ctx, limit, before)
		if code.Of(err) == code.Usage {
			return fmt.Errorf("operation %s: %w", before, api.ErrUnknown)
		}
		return err
	})
	return all, err
}

// Operation is api.Sidecar's. What runs is known although it is not, or no more, in the history.
func (s *Sidecar) Operation(ctx context.Context, id string) (o state.Operation, err error) {
	err = s.history(ctx, func(store *state.Store) error {
		o, _, err = store.Show(ctx, id)
		return err
	})
	if err == nil {
		return o, nil
	}
	if j := s.running(); j != nil && j.id() == id {
		st := s.Status()
		return state.Operation{ID: id, Operation: st.Operation, State: state.Running, Phase: st.Phase, Started: st.Started, PID: st.PID, RequestedBy: st.RequestedBy}, nil
	}
	if code.Of(err) == code.Usage {
		return o, fmt.Errorf("operation %s: %w", id, api.ErrUnknown)
	}
	return o, err
}

// requested finds what an earlier life of the sidecar began for the key of r; nil if nothing.
func (s *Sidecar) requested(ctx context.Context, r api.Request) (*api.Started, error) {
	s.mu.Lock()
	known := s.asked[r.Key] != nil
	s.mu.Unlock()
	if known {
		return nil, nil
	}
	var o *state.Operation
	err := s.history(ctx, func(store *state.Store) (err error) {
		o, err = store.Requested(ctx, r.Key)
		return err
	})
	if err != nil || o == nil {
		return nil, err
	}
	var before asked
	if err := json.Unmarshal([]byte(o.Request), &before); err != nil || before != askedBy(r) {
		return nil, api.ErrReused
	}
	return &api.Started{ID: o.ID, Operation: o.Operation, Repeated: true}, nil
}

// Backups is api.Sidecar's.
func (s *Sidecar) Backups(ctx context.Context) ([]repo.Listed, error) {
	return s.current().Backups(ctx)
}

// Backup is api.Sidecar's.
func (s *Sidecar) Backup(ctx context.Context, id string) (api.Backup, error) {
	return s.current().Backup(ctx, id)
}

// DeleteBackup is api.Sidecar's. It is refused while an operation runs, which may need what
// would be deleted.
func (s *Sidecar) DeleteBackup(ctx context.Context, id string, by api.Actor) error {
	if j := s.running(); j != nil {
		return code.Hint(code.Busy, "wait for it, or remora cancel", "delete backup %s: %s is running", id, j.name())
	}
	lock, err := state.Lock(s.cfg.Dir, state.Owner{PID: s.Status().PID, Operation: "delete", ID: id, Host: s.cfg.Host, Since: time.Now()})
	if err != nil {
		return err
	}
	defer func() { _ = lock.Release() }() // it ends with the descriptor
	if err := s.current().DeleteBackup(ctx, id); err != nil {
		return err
	}
	s.tell(run.KindNote, "Backup %s was deleted (%s).", id, who(by))
	return nil
}
