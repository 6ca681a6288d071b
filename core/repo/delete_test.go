package repo

import (
	"context"
	"crypto/rand"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug/plugtest"
)

// sealedFor makes a backup of each server, in this order, and returns their ids.
func sealedFor(t *testing.T, m *plugtest.Memory, servers ...string) []string {
	t.Helper()
	var list []Manifest
	for _, server := range servers {
		list = append(list, Manifest{Server: Server{UUID: server}})
	}
	return sealed(t, m, list...)
}

// sealed makes a backup of each manifest, in this order, and returns their ids.
func sealed(t *testing.T, m *plugtest.Memory, manifests ...Manifest) (ids []string) {
	t.Helper()
	for _, manifest := range manifests {
		r, err := Open(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		id, err := r.NextID(t.Context(), time.Now(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		b, err := r.NewBackup(t.Context(), id, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := write(t.Context(), b, source{"a": []byte("x")}, 1); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Seal(t.Context(), manifest); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func TestDelete(t *testing.T) {
	m := new(plugtest.Memory)
	ids := sealedFor(t, m, "a", "a", "b")
	r, err := Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(id string, force bool, says string) {
		t.Helper()
		_, err := r.Delete(t.Context(), id, force)
		if code.Of(err) != code.Usage || !strings.Contains(err.Error(), says) {
			t.Errorf("delete %s: %v (code %d), want code %d that says %q", id, err, code.Of(err), code.Usage, says)
		}
	}
	deleted := func(id string, force bool) {
		t.Helper()
		if freed, err := r.Delete(t.Context(), id, force); err != nil || freed == 0 {
			t.Errorf("delete %s: %d bytes, %v", id, freed, err)
		}
		for name := range m.All() {
			if strings.HasPrefix(name, dirName(id)) {
				t.Errorf("%s is still there", name)
			}
		}
	}
	refused(Latest, false, "not an id")
	refused("20200101T000000Z-0000", true, "there is none")
	refused(ids[2], false, "the last one of server b")
	deleted(ids[0], false)
	refused(ids[1], false, "the last one of server a")
	m.Remove(manifestName(ids[1]))
	refused(ids[1], false, "unfinished")
	deleted(ids[1], true)
	m.Bytes(manifestName(ids[2]))[10] ^= 1
	deleted(ids[2], false) // damaged: nothing is lost
	if all, err := r.List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("left are %v, %v", all, err)
	}
}

// A backup that another one is made on stays, forced or not.
func TestDeleteOfABase(t *testing.T) {
	all := []Summary{{ID: "base"}, {ID: "on it", Manifest: Manifest{Bases: []string{"base"}}}, {ID: "another"}}
	if err := spare(all, all[0], true); code.Of(err) != code.Usage || !strings.Contains(err.Error(), "on it needs it") {
		t.Errorf("the base: %v", err)
	}
	if err := spare(all, all[1], false); err != nil {
		t.Errorf("what is made on it: %v", err)
	}
	newer := []Summary{{ID: "newer", Err: code.New(code.Version, "of a newer version")}, {ID: "another"}, {ID: "third"}}
	for _, s := range newer { // nobody knows what the newer one is, nor what it needs
		if err := spare(newer, s, false); code.Of(err) != code.Usage || !strings.Contains(err.Error(), "cannot be told") {
			t.Errorf("%s beside a backup of a newer version: %v", s.ID, err)
		}
		if err := spare(newer, s, true); err != nil {
			t.Errorf("%s by force: %v", s.ID, err)
		}
	}
}

// The manifest goes first; a delete that is broken off says so and can be done again.
func TestDeleteBrokenOff(t *testing.T) {
	m := new(plugtest.Memory)
	ids := sealedFor(t, m, "a", "a")
	r, err := Open(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	m.Hook = func(_ context.Context, op, name string, _ io.Reader) error {
		if op == "delete" {
			if order = append(order, name); len(order) == 2 {
				return io.ErrUnexpectedEOF
			}
		}
		return nil
	}
	if _, err := r.Delete(t.Context(), ids[0], false); err == nil || !strings.Contains(err.Error(), "not all of it is gone") || code.HintOf(err) == "" {
		t.Errorf("broken off: %v, hint %q", err, code.HintOf(err))
	}
	if order[0] != manifestName(ids[0]) {
		t.Errorf("deleted first is %s", order[0])
	}
	if _, err := r.Delete(t.Context(), ids[0], true); err != nil {
		t.Errorf("again: %v", err)
	}
	// A storage that says yes and keeps it is not believed.
	m.Hook = nil
	keeps := &keeper{Memory: m, name: manifestName(ids[1])}
	r, err = Open(t.Context(), keeps)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Delete(t.Context(), ids[1], true); code.Of(err) != code.Storage {
		t.Errorf("a storage that keeps it: %v (code %d), want code %d", err, code.Of(err), code.Storage)
	}
}

// keeper deletes all but one object.
type keeper struct {
	*plugtest.Memory
	name string
}

func (k *keeper) Delete(ctx context.Context, name string) error {
	if name == k.name {
		return nil
	}
	return k.Memory.Delete(ctx, name)
}
