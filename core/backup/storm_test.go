package backup_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/backup"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/examples/workload"
)

var (
	stormSeed  = flag.Int64("storm.seed", 0, "seed of the first storm; 0 draws one")
	stormCount = flag.Int("storm.count", 1, "how many storms, each with the next seed")
)

// TestStorm takes backups while sessions create, drop, rename, truncate, index, rebuild and
// move tables and others write, and compares each restore with the source. The backup is
// delayed here and there, as by a slow disk, so that the DDL falls everywhere into it.
func TestStorm(t *testing.T) {
	needs.Server(t)
	seed := *stormSeed
	if seed == 0 {
		seed = rand.Int64N(1_000_000)
	}
	for i := range *stormCount {
		o := workload.Options{Tables: 2, Rows: 5000, Seed: seed + int64(i)}
		t.Run(fmt.Sprintf("seed=%d", o.Seed), func(t *testing.T) { newLab(t).storm(t, o) })
	}
}

// gusts delays whoever comes to a point, at random.
type gusts struct {
	mu     sync.Mutex
	r      *rand.Rand
	locked bool
}

func (g *gusts) At(ctx context.Context, p syncpoint.Point) error {
	g.mu.Lock()
	d := time.Duration(g.r.ExpFloat64() * float64(4*time.Millisecond))
	if g.r.IntN(40) == 0 {
		d = time.Duration(g.r.IntN(300)) * time.Millisecond
	}
	switch p {
	case syncpoint.LockHeld:
		g.locked = true
	case syncpoint.LockReleased, syncpoint.CatchUpRound:
		g.locked = false
	}
	calm := g.locked || p == syncpoint.RedoBlock // the lock is as short as without gusts
	g.mu.Unlock()
	if calm {
		return nil
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return nil
}

func (l *lab) storm(t *testing.T, o workload.Options) {
	if err := workload.Load(t.Context(), l.source.DB(), o); err != nil {
		t.Fatalf("load: %v", err)
	}
	if err := workload.PrepareAlter(t.Context(), l.source.DB(), 3); err != nil {
		t.Fatal(err)
	}
	l.gusts = &gusts{r: rand.New(rand.NewPCG(uint64(o.Seed), 3))}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var altered workload.Altered
	var written workload.Written
	var writers sync.WaitGroup
	writers.Go(func() {
		if err := workload.Alter(ctx, l.source.DB(), 3, o.Seed, &altered); err != nil {
			t.Errorf("DDL writers: %v", err)
		}
	})
	writers.Go(func() {
		if err := workload.Write(ctx, l.source.DB(), 4, o, &written); err != nil {
			t.Errorf("writers: %v", err)
		}
	})
	res, events, err := l.backup()
	cancel()
	writers.Wait()
	for _, e := range events {
		if e.Kind == run.KindNote || e.Kind == run.KindWarning {
			t.Log(e.Phase, e.Message)
		}
	}
	t.Logf("%d DDL statements, %d refused, %d transactions; %+v", altered.Done.Load(), altered.Refused.Load(), written.Transactions.Load(), res)
	if err != nil {
		t.Fatalf("backup: %v", err)
	}
	if altered.Done.Load() == 0 || written.Transactions.Load() == 0 {
		t.Errorf("there was no storm")
	}
	restored := l.restore()
	if o.Seed%4 == 0 { // it takes as long as all the rest
		l.exact(restored, res)
	}
	l.same(restored, res)
}

// exact compares the restored server with what the source's binlog, replayed from its first
// event on, makes of an empty server at the position of the backup: there nothing that
// replication does could have mended the backup.
func (l *lab) exact(restored *mysqldtest.Server, res backup.Result) {
	l.t.Helper()
	replayed := mysqldtest.Start(l.t, mysqldtest.Args("--replica-parallel-workers=4"))
	mysqldtest.ReplicateUntil(l.t, l.source, replayed, res.BinlogFile, res.BinlogPosition)
	l.equal(restored, replayed)
}
