package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/remora-backup/remora/core/control"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/server"
	"github.com/remora-backup/remora/core/state"
)

// findCrashed records the end of operations whose process is gone. What needs neither the
// storage nor the server is said at once; what a backup left is seen to by the next one.
func (o *operation) findCrashed(ctx context.Context) error {
	if _, err := o.store.MarkCrashed(ctx); err != nil {
		return err
	}
	all, err := o.store.Untidied(ctx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.State != run.Crashed {
			continue
		}
		text := fmt.Sprintf("An earlier %s (%s) crashed in phase %s.", c.Operation, c.ID, phaseOf(c))
		if c.Destructive {
			text += fmt.Sprintf(" Operation aborted - data might be corrupted. Target: %s.", c.Target)
		} else {
			text += " Operation aborted."
		}
		o.say("%s", text)
		if c.Operation == "backup" {
			continue
		}
		switch {
		case c.Target == "":
		case c.Operation == "prepare":
			o.say("%s may be left changed in part. To go on, or to hear what to do: the same prepare again.", c.Target)
		default:
			o.say("Incomplete files may be left in %s. To go on: the same %s again.", c.Target, c.Operation)
		}
		if err := o.store.Describe(ctx, c.ID, func(row *state.Operation) { row.Tidied = true }); err != nil {
			return err
		}
	}
	return nil
}

// settled reads from the history, and sees to it that what has no end there is running:
// with its process gone it has crashed. That is recorded as the next operation would; where
// it cannot be, it is shown.
func settled(ctx context.Context, dir string, store *state.Store, read func() ([]state.Operation, error)) ([]state.Operation, error) {
	all, err := read()
	if err != nil {
		return nil, err
	}
	gone := ownerless(ctx, dir, all)
	if len(gone) == 0 {
		return all, nil
	}
	soon, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	_ = store.MarkGone(soon, gone) // or the next operation does
	if all, err = read(); err != nil {
		return nil, err
	}
	for i := range all {
		if all[i].Ongoing() && slices.Contains(gone, all[i].ID) {
			all[i].Crash()
		}
	}
	return all, nil
}

// lookWithin bounds the question who runs, and the record of the answer.
const lookWithin = 2 * time.Second

// ownerless returns the ids of those operations without an end whose process is gone. That
// process listened on the socket of dir before it recorded its operation, and does so until
// it has recorded the end: if nobody listens after the history was read, or another one, it
// is gone. The lock file would tell as well, but not without being taken, for a moment, from
// an operation that starts. The number of a process may be another's by now, and in a
// container always is: the moment of the start tells them apart.
func ownerless(ctx context.Context, dir string, all []state.Operation) []string {
	if !slices.ContainsFunc(all, state.Operation.Ongoing) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	now, err := control.Ask(ctx, dir)
	if err != nil && !errors.Is(err, control.ErrNotRunning) {
		return nil // somebody is there who does not answer, or whom we may not ask
	}
	var gone []string
	for _, o := range all {
		owned := err == nil && o.PID == now.PID && o.Started.Equal(now.Started.Truncate(time.Millisecond))
		if o.Ongoing() && !owned {
			gone = append(gone, o.ID)
		}
	}
	return gone
}

func phaseOf(c state.Operation) string {
	if c.Phase == "" {
		return "none"
	}
	return c.Phase
}

// say keeps a note for the beginning of the run.
func (o *operation) say(format string, args ...any) {
	o.opening = append(o.opening, run.Event{Kind: run.KindNote, Message: fmt.Sprintf(format, args...)})
}

// tidy does what earlier backups could not: it ends a session of the lock plugin that is
// still there, and deletes objects that belong to no backup. Only ids that this host's
// history has are touched, as others may be writing to the same storage.
func (o *operation) tidy(ctx context.Context, storage plug.Storage, srv *server.Server) error {
	all, err := o.store.Untidied(ctx)
	if err != nil || len(all) == 0 {
		return err
	}
	r, err := repo.Open(ctx, storage)
	if err != nil {
		return fmt.Errorf("open repository: %w", err)
	}
	for _, c := range all {
		if err := o.unlock(ctx, srv, c); err != nil {
			return err
		}
		removed, whole, err := r.Discard(ctx, c.ID, c.State == run.Crashed)
		switch {
		case errors.Is(err, plug.ErrPermission): // it costs room, and is no reason not to back up
			o.say("What backup %s left in the storage could not be removed: %v", c.ID, err)
			continue
		case err != nil:
			return fmt.Errorf("remove what backup %s left: %w", c.ID, err)
		case whole:
			o.say("Backup %s had been stored whole before its process ended: it stays.", c.ID)
		case removed > 0:
			o.say("Removed %s that backup %s had left in the storage.", objects(removed), c.ID)
		}
		if err := o.store.Describe(ctx, c.ID, func(row *state.Operation) { row.Tidied = true }); err != nil {
			return err
		}
	}
	return nil
}

func objects(n int) string {
	if n == 1 {
		return "1 object"
	}
	return fmt.Sprintf("%d objects", n)
}

// unlock ends the session that held the server's lock for c. It is known by the process of
// the lock plugin, which the history has before that is asked for a lock: the session's own
// number reaches it later. Not to be able to look is no reason to fail: the session has a
// lease of its own.
func (o *operation) unlock(ctx context.Context, srv *server.Server, c state.Operation) error {
	ours := c.LockPID == o.row.LockPID && c.Host == o.row.Host // a container counts from 1 again
	if c.LockPID == 0 || ours || c.ServerUUID != o.row.ServerUUID {
		return ctx.Err()
	}
	killed, err := srv.KillOrphans(ctx, c.Host, c.LockPID)
	for _, id := range killed {
		o.say("Killed session %d, with which backup %s had kept the server locked.", id, c.ID)
	}
	if err != nil && ctx.Err() == nil {
		o.say("Whether the server is still locked by backup %s could not be seen: %v", c.ID, err)
		return nil
	}
	return ctx.Err()
}
