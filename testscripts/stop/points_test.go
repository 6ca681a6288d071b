package stop

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/syncpoint"
)

// Every point in the lists is come to by a whole operation of each kind, or by one that fails: a
// point that is not tells nobody anything.
func TestEveryPointIsHit(t *testing.T) {
	needs.Server(t)
	repo := goodRepo(t)
	s, err := startSource(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Remove()
	hit := map[syncpoint.Point]bool{}
	for i, r := range []struct {
		operation string
		fails     syncpoint.Point
	}{{"backup", ""}, {"backup", syncpoint.LockSyncPoint}, {"restore", ""}, {"restore", syncpoint.FetchDone}, {"export", ""}, {foreign, ""}, {"prepare", syncpoint.ApplyingDone}} {
		dir := filepath.Join(world.dir, fmt.Sprint("hit", i))
		from, o := repo, one{operation: r.operation}
		if r.operation == "backup" {
			from = filepath.Join(dir, "repo")
		}
		h, err := newHome(dir, s.Socket, from, "")
		if err == nil {
			err = lay(o, h)
		}
		if err != nil {
			t.Fatal(err)
		}
		p := held(h, o.args(h)...)
		defer p.signal(syscall.SIGKILL)
		orders := []string{"arm " + string(syncpoint.CleanupLockFile), "go"}
		if r.fails != "" {
			orders = append([]string{"arm " + string(r.fails) + " fail"}, orders...)
		}
		for _, order := range orders {
			if _, err := p.sync(t.Context(), strings.Fields(order)...); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.await(t.Context(), syncpoint.CleanupLockFile); err != nil {
			t.Fatalf("%v\n%s\n%s", err, p.out, p.err)
		}
		hits, err := p.sync(t.Context(), "hits")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(hits) {
			hit[syncpoint.Point(strings.Fields(line)[0])] = true
		}
		if _, err := p.sync(t.Context(), "resume", string(syncpoint.CleanupLockFile)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for _, p := range syncpoint.All() {
		if !hit[p] {
			t.Errorf("nobody came to %s", p)
		}
	}
	backup, restore := len(points("backup")), len(points("restore"))
	if backup < 35 || restore < 25 {
		t.Errorf("%d points in a backup, %d in a restore; want 35 and 25", backup, restore)
	}
	fmt.Printf("points: %d, of a backup %d, of a restore %d, of an export %d, of a prepare %d, all met\n",
		len(syncpoint.All()), backup, restore, len(points("export")), len(points(foreign)))
}
