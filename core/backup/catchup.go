package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/page"
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
	// maxBegun bounds how often a backup begins again.
	maxBegun = 3
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
	e.others.packer = e.copier.packers[0]
	return e.copyAll(ctx, t)
}

func (e *engine) copyAll(ctx context.Context, t *run.Task) error {
	e.copier.begun, e.copier.tracker = e.redo.position, e.track
	e.asked = false // the look before the redo was followed does not count
	now, err := e.outstanding(ctx)
	if err != nil {
		return err
	}
	for i := range now.todo {
		now.todo[i].why = "" // for the first time, like all
	}
	if err := syncpoint.At(ctx, syncpoint.CopyDiscovered); err != nil {
		return err
	}
	t.Total(bytesOf(now.todo))
	if err := e.copier.all(ctx, t, now.todo); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.CopyOthers); err != nil {
		return err
	}
	if err := e.others.refresh(ctx, now.others, false); err != nil {
		return err
	}
	return syncpoint.At(ctx, syncpoint.CopyDone)
}

// catchUp copies again what DDL made stale, in rounds, until a round is short or they get no
// smaller. At its end nothing is on its way to the storage, so that the time under the lock
// is not spent waiting for it.
func (e *engine) catchUp(ctx context.Context, t *run.Task) error {
	smallest := int64(math.MaxInt64)
	for round := 1; round <= maxRounds; round++ {
		if err := syncpoint.At(ctx, syncpoint.CatchUpRound); err != nil {
			return err
		}
		if err := e.reachNow(ctx, time.Minute); err != nil {
			return err
		}
		if err := syncpoint.At(ctx, syncpoint.CatchUpLook); err != nil {
			return err
		}
		began := time.Now()
		now, err := e.outstanding(ctx)
		if err != nil {
			return err
		}
		if e.track.born() != 0 {
			if err := e.beginAgain(ctx, t); err != nil {
				return err
			}
			continue
		}
		if err := e.unexplained(now.todo); err != nil {
			return err
		}
		if len(now.todo) > 0 {
			t.Note("round %d: copying %d tablespaces again or for the first time (%s: %s)", round, len(now.todo), now.todo[0].path, now.todo[0].why)
		}
		if err := e.copier.all(ctx, t, now.todo); err != nil {
			return err
		}
		if err := e.others.refresh(ctx, now.others, false); err != nil {
			return err
		}
		n := bytesOf(now.todo)
		if len(now.todo) == 0 || time.Since(began) < shortRound || n > smallest-smallest/10 {
			break
		}
		smallest = n
	}
	return e.settle(ctx)
}

// beginAgain copies everything once more, with redo from a newer checkpoint on.
func (e *engine) beginAgain(ctx context.Context, t *run.Task) error {
	if e.begun++; e.begun > maxBegun {
		return fmt.Errorf("tablespace %d was imported during the backup, and so were others each time it began again: take it when nothing is imported", e.track.born())
	}
	t.Note("tablespace %d was discarded and imported during the backup: beginning again", e.track.born())
	if err := e.redo.close(ctx); err != nil {
		return err
	}
	e.redo, e.track = nil, newTracker()
	if err := e.followRedo(ctx, t); err != nil {
		return err
	}
	return e.copyAll(ctx, t)
}

// unexplained fails for a page that stays bad in a tablespace that no DDL touched. All redo
// from before the last reading has been parsed; DDL that is still under way is given the
// benefit of another copy if the page is good by now.
func (e *engine) unexplained(todo []entry) error {
	for _, en := range todo {
		c := e.track.spoiled(en)
		if c == nil {
			continue
		}
		bad, err := e.stillBad(c)
		if err != nil {
			return err
		}
		if bad {
			return damaged(c.spoiled())
		}
	}
	return nil
}

func damaged(err error) error {
	return code.Hint(code.CorruptPage, "CHECK TABLE ... EXTENDED tells which table and index; a backup of damaged pages would be no backup",
		"the source is damaged: %w", err)
}

// stillBad reads the page that spoiled a copy again.
func (e *engine) stillBad(c *copying) (bool, error) {
	file, err := os.Open(e.dir.full(c.path))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, unreadable(err)
	}
	defer file.Close()
	if _, err := e.dir.read(file, c.place); err != nil {
		return !errors.Is(err, errAway), nil
	}
	v, err := page.NewVerifier(c.pages)
	if err != nil {
		return false, err
	}
	b := make([]byte, c.pages.Physical)
	if _, err := file.ReadAt(b, int64(c.page-c.first)*int64(len(b))); errors.Is(err, io.EOF) {
		return true, nil
	} else if err != nil {
		return false, err
	}
	return v.Verify(b, c.page).Corrupt(), nil
}

// settle makes all that was copied durable.
func (e *engine) settle(ctx context.Context) error {
	if err := syncpoint.At(ctx, syncpoint.CatchUpSettle); err != nil {
		return err
	}
	for _, p := range e.copier.packers {
		if err := p.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}
