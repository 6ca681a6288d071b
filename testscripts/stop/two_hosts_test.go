package stop

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/remora-backup/remora/core/syncpoint"
)

// twoHosts lets two hosts, which are two state directories, use one repository at the same
// time. There is no lock in it that one of them could leave behind: neither waits for the
// other, neither touches what the other stores, and each removes what it left itself.
func twoHosts(t *testing.T, b *bench) {
	dir := filepath.Join(b.dir, "hosts")
	defer os.RemoveAll(dir)
	repo := filepath.Join(dir, "a/repo")
	var host [2]home
	for i, name := range []string{"a", "b"} {
		var err error
		if host[i], err = newHome(filepath.Join(dir, name), b.server(t).Socket, repo, ""); err != nil {
			t.Fatal(err)
		}
	}
	c := &check{t: t, b: b, home: host[0], o: one{"backup", "", "", 1000}}
	done := func(who string, a answer) string {
		t.Helper()
		if a.code != 0 || a.end() == nil {
			t.Fatalf("the backup %s: exit code %d\n%s", who, a.code, a)
		}
		return a.end().ID
	}
	whole := func(want ...string) {
		t.Helper()
		slices.Sort(want)
		if got := c.listed(); !slices.Equal(got, want) {
			t.Errorf("listed are %v, want %v", got, want)
		}
		for _, h := range host {
			if out, err := remora(h, "verify"); err != nil {
				t.Errorf("verify: %v\n%s", err, out)
			}
		}
	}

	// Both find an empty storage. The one that began first comes to store something last.
	first := b.hold(t, host[0], syncpoint.BackupChecked, "backup")
	second := b.hold(t, host[1], syncpoint.BackupPreflighted, "backup")
	first.order("arm " + string(syncpoint.StorePackPut) + " pause")
	first.order("resume " + string(syncpoint.BackupChecked))
	if err := first.p.await(t.Context(), syncpoint.StorePackPut); err != nil {
		t.Fatalf("%v\n%s\n%s", err, first.p.out, first.p.err)
	}
	ids := []string{done("that came second", second.goOn())}
	whole(ids...)
	first.o.point = syncpoint.StorePackPut
	ids = append(ids, done("that came first", first.goOn()))
	whole(ids...)

	// What one of them stores is none of the other's business, which is interrupted, ...
	stays := b.hold(t, host[1], syncpoint.StorePackDone, "backup")
	goes := b.hold(t, host[0], syncpoint.StorePackDone, "backup")
	goes.send(syscall.SIGINT)
	if a := goes.goOn(); a.code != 130 || a.end() == nil || len(a.end().Leftovers) > 0 {
		t.Errorf("interrupted: exit code %d\n%s", a.code, a)
	}
	ids = append(ids, done("beside one that was interrupted", stays.goOn()))
	whole(ids...)

	// ... begins and ends meanwhile, ...
	stays = b.hold(t, host[1], syncpoint.StorePackPut, "backup")
	a, err := begin(host[0], "backup").wait(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids = append(ids, done("in the middle of another", a))
	ids = append(ids, done("with another in its middle", stays.goOn()))
	whole(ids...)

	// ... or finds what the other left when it was killed: that one removes it itself.
	killed := b.hold(t, host[1], syncpoint.StorePackDone, "backup")
	killed.send(syscall.SIGKILL)
	<-killed.p.done
	for i, h := range host {
		a, err := begin(h, "backup").wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, done("after a kill", a))
		if said := strings.Contains(a.out, "had left in the storage"); said != (i == 1) {
			t.Errorf("host %d removed what was left: %v\n%s", i, said, a)
		}
	}
	whole(ids...)
	c.stored(ids)
	c.exact(t.Context())
}
