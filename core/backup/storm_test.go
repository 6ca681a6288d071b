package backup_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

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
// delayed here and there, as by a slow disk, so that the DDL falls everywhere into it. One
// server goes through all storms of a run, and carries on what the earlier ones left.
func TestStorm(t *testing.T) {
	seed := *stormSeed
	if seed == 0 {
		seed = rand.Int64N(1_000_000)
	}
	l := newLab(t)
	o := workload.Options{Tables: 2, Rows: 5000, Seed: seed}
	if err := workload.Load(t.Context(), l.source.DB(), o); err != nil {
		t.Fatalf("load: %v", err)
	}
	if err := workload.PrepareAlter(t.Context(), l.source.DB(), 3); err != nil {
		t.Fatal(err)
	}
	for i := range *stormCount {
		o.Seed = seed + int64(i)
		t.Run(fmt.Sprintf("seed=%d", o.Seed), func(t *testing.T) { l.storm(t, o) })
	}
}

// gusts delays whoever comes to a point, at random.
type gusts struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (g *gusts) At(ctx context.Context, p syncpoint.Point) error {
	g.mu.Lock()
	d := time.Duration(g.r.ExpFloat64() * float64(4*time.Millisecond))
	if g.r.IntN(40) == 0 {
		d = time.Duration(g.r.IntN(300)) * time.Millisecond
	}
	g.mu.Unlock()
	switch p {
	case syncpoint.RedoBlock, syncpoint.LockHeld, syncpoint.LockSyncPoint, syncpoint.LockRelease:
		return nil // the lock stays short
	}
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
	return nil
}

func (l *lab) storm(t *testing.T, o workload.Options) {
	l.t, l.gusts = t, &gusts{r: rand.New(rand.NewPCG(uint64(o.Seed), 3))}
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
	l.same(restored, res)
	l.whole(restored)
}
