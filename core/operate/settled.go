package operate

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/remora-backup/remora/core/control"
	"github.com/remora-backup/remora/core/state"
)

// Settled reads from the history, and sees to it that what has no end there is running:
// with its process gone it has crashed. That is recorded as the next operation would; where
// it cannot be, it is shown.
func Settled(ctx context.Context, dir string, store *state.Store, read func() ([]state.Operation, error)) ([]state.Operation, error) {
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
	var running []control.Status
	for _, name := range []string{control.SocketName, control.BesideName} {
		now, err := control.Ask(ctx, dir, name)
		if err != nil && !errors.Is(err, control.ErrNotRunning) {
			return nil // somebody is there who does not answer, or whom we may not ask
		}
		if err == nil {
			running = append(running, now)
		}
	}
	var gone []string
	for _, o := range all {
		owned := slices.ContainsFunc(running, func(now control.Status) bool {
			return o.PID == now.PID && o.Started.Equal(now.Started.Truncate(time.Millisecond))
		})
		if o.Ongoing() && !owned {
			gone = append(gone, o.ID)
		}
	}
	return gone
}
