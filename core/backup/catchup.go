package backup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

const (
	// maxRounds bounds the rounds without the lock; a server whose DDL never lets a round
	// be short leaves more for the time under the lock.
	maxRounds = 10
	// shortRound is a round after which so little can have happened that the rest may be
	// done under the lock.
	shortRound = 50 * time.Millisecond
)

// copyTablespaces copies everything there is, without a lock.
func (e *engine) copyTablespaces(ctx context.Context, t *run.Task) error {
	for range e.cfg.Parallel {
		p, err := e.backup.Packer()
		if err != nil {
			return err
		}
		e.copier.packers = append(e.copier.packers, p)
	}
	e.copier.begun = e.redo.position
	e.others.packer = e.copier.packers[0]
	now, err := e.dir.look(ctx, e.track.takeTouched())
	if err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.CopyDiscovered); err != nil {
		return err
	}
	t.Total(e.sizes(now.spaces))
	if err := e.copier.all(ctx, t, now.spaces); err != nil {
		return err
	}
	if err := e.others.refresh(ctx, now.others, false); err != nil {
		return err
	}
	return syncpoint.At(ctx, syncpoint.CopyDone)
}

// sizes adds up the present sizes of files, in bytes; for progress only.
func (e *engine) sizes(entries []entry) (bytes int64) {
	for _, en := range entries {
		if st, err := os.Stat(filepath.Join(e.dir.root, en.path)); err == nil {
			bytes += st.Size()
		}
	}
	return bytes
}

// catchUp copies again what DDL made stale, in rounds, until a round is short. At its end
// nothing is on its way to the storage, so that the time under the lock is not spent
// waiting for it.
func (e *engine) catchUp(ctx context.Context, t *run.Task) error {
	for round := 1; round <= maxRounds; round++ {
		if err := syncpoint.At(ctx, syncpoint.CatchUpRound); err != nil {
			return err
		}
		if err := e.reachNow(ctx, time.Minute); err != nil {
			return err
		}
		began := time.Now()
		now, todo, err := e.outstanding(ctx)
		if err != nil {
			return err
		}
		if err := e.unexplained(todo); err != nil {
			return err
		}
		if len(todo) > 0 {
			t.Note("round %d: copying %d tablespaces again or for the first time (%s: %s)", round, len(todo), todo[0].path, e.track.stale(todo[0]))
		}
		if err := e.copier.all(ctx, t, todo); err != nil {
			return err
		}
		if err := e.others.refresh(ctx, now.others, false); err != nil {
			return err
		}
		if len(todo) == 0 || time.Since(began) < shortRound {
			break
		}
	}
	return e.settle(ctx)
}

// outstanding looks at the directory and returns the tablespaces without a good copy.
func (e *engine) outstanding(ctx context.Context) (found, []entry, error) {
	now, err := e.dir.look(ctx, e.track.takeTouched())
	if err != nil {
		return found{}, nil, err
	}
	var todo []entry
	for _, en := range now.spaces {
		if e.track.stale(en) != "" {
			todo = append(todo, en)
		}
	}
	return now, todo, nil
}

// unexplained fails for a page that stays bad in a tablespace that no DDL touched.
func (e *engine) unexplained(todo []entry) error {
	for _, en := range todo {
		if err := e.track.unexplained(en); err != nil {
			return fmt.Errorf("the source is damaged: %w", err)
		}
	}
	return nil
}

// settle makes all that was copied durable.
func (e *engine) settle(ctx context.Context) error {
	for _, p := range e.copier.packers {
		if err := p.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}
