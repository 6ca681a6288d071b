package workload_test

import (
	"context"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/examples/workload"
)

// TestLoadAndWrite proves that every statement of the workload is one a server accepts.
func TestLoadAndWrite(t *testing.T) {
	needs.Server(t)
	s := mysqldtest.Start(t)
	o := workload.Options{Tables: 2, Rows: 5000, Seed: 1}
	began := time.Now()
	if err := workload.Load(t.Context(), s.DB(), o); err != nil {
		t.Fatalf("load: %v", err)
	}
	t.Logf("loaded in %v", time.Since(began))
	var w workload.Written
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- workload.Write(ctx, s.DB(), 4, o, &w) }()
	for w.Transactions.Load() < 500 {
		select {
		case err := <-done:
			t.Fatalf("writers ended after %d transactions: %v", w.Transactions.Load(), err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("writers: %v", err)
	}
}
