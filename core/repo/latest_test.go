package repo

import (
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug/plugtest"
)

// The latest backup is the one with the newest data, not the one that was taken last.
func TestLatestByData(t *testing.T) {
	m := new(plugtest.Memory)
	point := time.Date(2026, 11, 20, 22, 0, 0, 0, time.UTC)
	var list []Manifest
	for _, data := range []time.Time{point.Add(-2 * time.Hour), point, point.Add(-3 * time.Hour), {}} {
		list = append(list, Manifest{Started: point.Add(-4 * time.Hour), DataTime: data})
	}
	ids := sealed(t, m, list...)
	r, err := Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Manifest(t.Context(), Latest); err != nil || got.ID != ids[1] {
		t.Errorf("latest is %s, %v; want %s of %v", got.ID, err, ids[1], ids)
	}
	if b, err := r.OpenBackup(t.Context(), Latest); err != nil || b.Manifest().ID != ids[1] {
		t.Errorf("the latest that is opened: %v, want %s", err, ids[1])
	}
	// One that was taken last and cannot be read could be it.
	name := manifestName(ids[3])
	m.Set(name, m.Bytes(name)[:10])
	if _, err := r.Manifest(t.Context(), Latest); code.Of(err) != code.Integrity {
		t.Errorf("the last one is damaged: %v (code %d), want code %d", err, code.Of(err), code.Integrity)
	}
}
