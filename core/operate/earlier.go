package operate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/state"
)

// findCrashed records the end of operations whose process is gone. What needs neither the
// storage nor the server is said at once; what a backup left is seen to by the next one.
func (d *Draft) findCrashed(ctx context.Context) error {
	if _, err := d.store.MarkCrashed(ctx); err != nil {
		return err
	}
	all, err := d.store.Untidied(ctx)
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
		d.say("%s", text)
		if c.Operation == "backup" {
			continue
		}
		switch {
		case c.Target == "":
		case c.Operation == "prepare":
			d.say("%s may be left changed in part. To go on, or to hear what to do: the same prepare again.", c.Target)
		default:
			d.say("Incomplete files may be left in %s. To go on: the same %s again.", c.Target, c.Operation)
		}
		if err := d.store.Describe(ctx, c.ID, func(row *state.Operation) { row.Tidied = true }); err != nil {
			return err
		}
	}
	return nil
}

func phaseOf(c state.Operation) string {
	if c.Phase == "" {
		return "none"
	}
	return c.Phase
}

// Sessions are the connections that a server has.
type Sessions interface {
	// KillOrphans ends those that the lock plugin with this process id on this host has left,
	// and returns their ids.
	KillOrphans(ctx context.Context, host string, pid int) ([]uint64, error)
}

// Tidy does what earlier backups could not: it ends a session of the lock plugin that is
// still there, and deletes objects that belong to no backup. Only ids that this host's
// history has are touched, as others may be writing to the same storage.
func (d *Draft) Tidy(ctx context.Context, r *repo.Repo, srv Sessions) error {
	all, err := d.store.Untidied(ctx)
	if err != nil {
		return err
	}
	for _, c := range all {
		if err := d.unlock(ctx, srv, c); err != nil {
			return err
		}
		removed, whole, err := r.Discard(ctx, c.ID, c.State == run.Crashed)
		switch {
		case errors.Is(err, plug.ErrPermission): // it costs room, and is no reason not to back up
			d.say("What backup %s left in the storage could not be removed: %v", c.ID, err)
			continue
		case err != nil:
			return fmt.Errorf("remove what backup %s left: %w", c.ID, err)
		case whole:
			d.say("Backup %s had been stored whole before its process ended: it stays.", c.ID)
		case removed > 0:
			d.say("Removed %s that backup %s had left in the storage.", objects(removed), c.ID)
		}
		if err := d.store.Describe(ctx, c.ID, func(row *state.Operation) { row.Tidied = true }); err != nil {
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
func (d *Draft) unlock(ctx context.Context, srv Sessions, c state.Operation) error {
	ours := c.LockPID == d.Row.LockPID && c.Host == d.Row.Host // a container counts from 1 again
	if c.LockPID == 0 || ours || c.ServerUUID != d.Row.ServerUUID {
		return ctx.Err()
	}
	killed, err := srv.KillOrphans(ctx, c.Host, c.LockPID)
	for _, id := range killed {
		d.say("Killed session %d, with which backup %s had kept the server locked.", id, c.ID)
	}
	if err != nil && ctx.Err() == nil {
		d.say("Whether the server is still locked by backup %s could not be seen: %v", c.ID, err)
		return nil
	}
	return ctx.Err()
}

// DoubtEmpty lets the backup warn if its storage has never seen one although there were
// backups here: a file system that is not mounted looks like that.
func (d *Draft) DoubtEmpty(ctx context.Context, r *repo.Repo) error {
	if r.Exists() {
		return nil
	}
	all, err := d.store.History(ctx)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(b state.Operation) bool {
		return b.Operation == "backup" && (b.State == run.Complete || b.State == run.CompleteWithWarnings)
	})
	if at < 0 {
		return nil
	}
	text := fmt.Sprintf("the storage is empty, but backup %s was completed on %s: is it the right storage, and mounted?",
		all[at].ID, all[at].Ended.UTC().Format("2006-01-02 15:04:05 UTC"))
	d.opening = append(d.opening, run.Event{Kind: run.KindWarning, Message: text})
	return nil
}
