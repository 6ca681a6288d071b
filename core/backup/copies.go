package backup

import (
	"context"
	"math"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/copier"
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

// none is what a phase gives that only goes on with what is there.
type none = struct{}

// copies is what was copied so far with the redo at hand, and how more is.
type copies struct {
	*site
	redo   *capture
	survey *survey
	copier *copier.Copier // tells redo.ledger what it has made
	plain  *copier.Plain
}

func newCopies(s *site, redo *capture, plain *copier.Plain) *copies {
	return &copies{
		site: s, redo: redo, survey: &survey{site: s, redo: redo}, plain: plain,
		copier: &copier.Copier{Dir: s.dir, NewFile: s.store.NewFile, Packers: s.packers, Parsed: redo.log.Parsed, Done: redo.ledger.copied},
	}
}

// first copies everything there is, without a lock.
func (c *copies) first(ctx context.Context, t *run.Task) (none, error) {
	now, err := c.survey.outstanding(ctx)
	if err != nil {
		return none{}, err
	}
	for i := range now.todo {
		now.todo[i].Why = "" // for the first time, like all
	}
	if err := syncpoint.At(ctx, syncpoint.CopyDiscovered); err != nil {
		return none{}, err
	}
	t.Total(now.bytes())
	if err := c.copier.Copy(ctx, now.todo, copier.Way{Advance: t.Advance}); err != nil {
		return none{}, err
	}
	if err := syncpoint.At(ctx, syncpoint.CopyOthers); err != nil {
		return none{}, err
	}
	if err := c.plain.Refresh(ctx, now.Others, false); err != nil {
		return none{}, err
	}
	return none{}, syncpoint.At(ctx, syncpoint.CopyDone)
}

// catchUp copies again what DDL made stale, in rounds, until a round is short or they get no
// smaller. At its end nothing is on its way to the storage, so that the time under the lock
// is not spent waiting for it.
func (c *copies) catchUp(ctx context.Context, t *run.Task) (none, error) {
	smallest := int64(math.MaxInt64)
	for round := 1; round <= maxRounds; round++ {
		now, err := c.stale(ctx)
		if err != nil {
			return none{}, err
		}
		if len(now.todo) > 0 {
			t.Note("round %d: copying %d tablespaces again or for the first time (%s: %s)", round, len(now.todo), now.todo[0].Path, now.todo[0].Why)
		}
		began := time.Now()
		if err := c.copier.Copy(ctx, now.todo, copier.Way{Advance: t.Advance}); err != nil {
			return none{}, err
		}
		if err := c.plain.Refresh(ctx, now.Others, false); err != nil {
			return none{}, err
		}
		n := now.bytes()
		if len(now.todo) == 0 || now.took+time.Since(began) < shortRound || n > smallest-smallest/10 {
			break
		}
		smallest = n
	}
	return none{}, c.settle(ctx)
}

// stale finds what is to be copied in a round.
func (c *copies) stale(ctx context.Context) (now found, err error) {
	if err := syncpoint.At(ctx, syncpoint.CatchUpRound); err != nil {
		return now, err
	}
	if err := c.redo.reachNow(ctx); err != nil {
		return now, err
	}
	if err := syncpoint.At(ctx, syncpoint.CatchUpLook); err != nil {
		return now, err
	}
	if now, err = c.survey.outstanding(ctx); err != nil {
		return now, err
	}
	return now, c.unexplained(now.todo)
}

// unexplained fails for a page that stays bad in a tablespace that no DDL touched. All redo
// from before the last reading has been parsed; DDL that is still under way is given the
// benefit of another copy if the page is good by now.
func (c *copies) unexplained(todo []copier.Job) error {
	for _, j := range todo {
		cp := c.redo.ledger.spoiled(j.File)
		if cp == nil {
			continue
		}
		bad, err := c.copier.StillBad(cp)
		if err != nil {
			return err
		}
		if bad {
			return damaged(cp.Spoiled())
		}
	}
	return nil
}

func damaged(err error) error {
	return code.Hint(code.CorruptPage, "CHECK TABLE ... EXTENDED tells which table and index; a backup of damaged pages would be no backup",
		"the source is damaged: %w", err)
}

// settle makes all that was copied durable.
func (c *copies) settle(ctx context.Context) error {
	if err := syncpoint.At(ctx, syncpoint.CatchUpSettle); err != nil {
		return err
	}
	for _, p := range c.packers {
		if err := p.Flush(ctx); err != nil {
			return err
		}
	}
	return nil
}
