package backup_test

import (
	"context"
	"flag"
	"testing"

	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/examples/workload"
)

var (
	stormSeed  = flag.Int64("storm.seed", 1, "seed of the first storm")
	stormCount = flag.Int("storm.count", 1, "how many storms, each with the next seed")
)

// TestStorm takes a backup while sessions create, drop, rename, truncate, index, rebuild
// and move tables and others write, and compares what is restored with the source.
func TestStorm(t *testing.T) {
	for i := range *stormCount {
		t.Run("", func(t *testing.T) { storm(t, *stormSeed+int64(i)) })
	}
}

func storm(t *testing.T, seed int64) {
	t.Logf("seed %d", seed)
	l := newLab(t)
	stopDML := l.busy(workload.Options{Tables: 2, Rows: 30000, Seed: seed}, 4)
	defer stopDML()
	if err := workload.PrepareAlter(t.Context(), l.source.DB(), 3); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var altered workload.Altered
	done := make(chan error, 1)
	go func() { done <- workload.Alter(ctx, l.source.DB(), 3, seed, &altered) }()
	res, events, err := l.backup()
	cancel()
	if aerr := <-done; aerr != nil {
		t.Errorf("DDL writers: %v", aerr)
	}
	stopDML()
	for _, e := range events {
		if e.Kind == run.KindNote || e.Kind == run.KindWarning {
			t.Log(e.Phase, e.Message)
		}
	}
	t.Logf("%d DDL statements, %d refused; %+v", altered.Done.Load(), altered.Refused.Load(), res)
	if err != nil {
		t.Fatalf("backup: %v", err)
	}
	l.same(l.restore(), res)
}
