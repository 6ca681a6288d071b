package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
)

const (
	// tryWait is how long one try looks for a moment in which the lock is granted at once.
	tryWait = 10 * time.Second
	// tryPending is for how long the server may be asked in one try: new DDL waits behind
	// the request as if the lock were held.
	tryPending = time.Second
	// tablesWait is for how long the tables' lock may be waited for under the backup lock.
	tablesWait = 500 * time.Millisecond
	// budget is for how long of any minute requests that are not granted, and locks that are
	// given back for another round, may make others wait: a fiftieth. With less than leastAsk
	// of it left the server is not asked.
	budget, leastAsk = time.Minute / 50, 200 * time.Millisecond
	// firstSpell is how long the lock is waited for before what DDL made stale is copied
	// again; each spell is twice as long as the one before, up to longestSpell.
	firstSpell, longestSpell = 20 * time.Second, 5 * time.Minute
)

// errNotYet means that the lock was not granted, and is asked for again.
var errNotYet = errors.New("the lock is not granted yet")

// lockWait waits for a lock that others are in the way of without being in theirs.
type lockWait struct {
	limit time.Duration // in all

	since time.Time     // asked for first; zero before
	spent []span        // of the last minute
	spell time.Duration // of the wait that is next
	told  string        // who was in the way, when that was told
	stall time.Duration // the longest that others may have waited for one request
	asked time.Duration // for which requests waited that were not granted
}

// span is a time in which others may have waited for us.
type span struct {
	end time.Time
	d   time.Duration
}

// room is what is left of the budget, and if that is too little, how long to wait for more.
func (w *lockWait) room() (left, wait time.Duration) {
	now := time.Now()
	w.spent = slices.DeleteFunc(w.spent, func(s span) bool { return now.Sub(s.end) >= time.Minute })
	left = budget
	for _, s := range w.spent {
		left -= s.d
	}
	if left < leastAsk {
		return left, w.spent[0].end.Add(time.Minute).Sub(now)
	}
	return left, 0
}

// acquire asks for the backup lock until it is granted or a spell is over.
func (w *lockWait) acquire(ctx context.Context, t *run.Task, lock plug.Lock) (plug.Held, error) {
	if w.since.IsZero() {
		w.since, w.spell = time.Now(), firstSpell
	}
	spell := time.Now().Add(w.spell)
	w.spell = min(2*w.spell, longestSpell)
	for {
		left, rest := w.room()
		if rest > 0 {
			if err := sleep(ctx, rest); err != nil {
				return nil, err
			}
			if time.Now().After(spell) { // much may have become stale
				return nil, errNotYet
			}
			continue
		}
		// The last try is made however late it is: a limit is no reason not to ask.
		wait := min(tryWait, max(tryPending, w.limit-time.Since(w.since)))
		held, err := lock.Acquire(ctx, plug.Ask{Scope: plug.ScopeBackup, Wait: wait, Pending: min(tryPending, left)})
		if err == nil {
			return held, nil
		}
		if err = w.late(t, err); !errors.Is(err, errNotYet) || time.Now().After(spell) {
			return nil, err
		}
	}
}

// late makes of a lock that was not granted errNotYet, or once patience is at its end the
// answer. It tells who is in the way, when that is somebody else than before.
func (w *lockWait) late(t *run.Task, err error) error {
	var late *plug.LockTimeout
	if !errors.As(err, &late) {
		return code.Default(code.Lock, fmt.Errorf("take the lock: %w", err))
	}
	w.asked += late.Pending
	w.used(late.Pending)
	if waited := time.Since(w.since); waited >= w.limit {
		return &code.Error{Code: code.Lock, Err: fmt.Errorf("the %s lock was not granted in %v (%v of them asked for): %w", late.Scope, waited.Round(time.Second), w.asked.Round(time.Millisecond), err),
			Hint: "end what is in the way, take the backup when it does not run, or set [backup] lock_patience to more"}
	}
	if who := inTheWay(late); who != w.told {
		w.told = who
		t.Note("waiting for the %s lock, in nobody's way: %s", late.Scope, who)
	}
	return errNotYet
}

// used notes that others may have waited for us.
func (w *lockWait) used(d time.Duration) {
	w.stall = max(w.stall, d)
	if d > 0 {
		w.spent = append(w.spent, span{time.Now(), d})
	}
}

func inTheWay(late *plug.LockTimeout) string {
	if len(late.Blockers) == 0 {
		return "somebody holds what it needs"
	}
	var all []string
	for _, b := range late.Blockers {
		all = append(all, fmt.Sprintf("process %d (%s): %s", b.ProcessID, b.User, b.Statement))
	}
	return strings.Join(all, ", ")
}

// sleep waits for d, unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
