package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/plug/plugtest"
)

// shut is a storage of which a part may not be read.
type shut struct {
	*plugtest.Memory
	part string // a prefix that ends in '/'
}

func (s shut) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if strings.HasPrefix(name, s.part) {
		return nil, fmt.Errorf("it is root's: %w", plug.ErrPermission)
	}
	return s.Memory.Get(ctx, name, offset, length)
}

func (s shut) List(ctx context.Context, prefix string) iter.Seq2[plug.Object, error] {
	return func(yield func(plug.Object, error) bool) {
		told := false
		for o, err := range s.Memory.List(ctx, prefix) {
			if err == nil && strings.HasPrefix(o.Name, s.part) {
				if o = (plug.Object{Name: s.part}); told {
					continue
				}
				told = true
			}
			if !yield(o, err) {
				return
			}
		}
	}
}

// A backup that may not be read is in the list as that, with the others; as the newest it
// must not be passed over in silence.
func TestUnreadableBackupIsListed(t *testing.T) {
	m := new(plugtest.Memory)
	src := source{"a.ibd": []byte("a")}
	first := mustBackup(t, m, src, Options{}, 100).ID
	second := mustBackup(t, m, src, Options{}, 100).ID
	r, err := Open(t.Context(), shut{m, dirName(second)})
	if err != nil {
		t.Fatal(err)
	}
	all, err := r.List(t.Context())
	if err != nil || len(all) != 2 || all[0].ID != first || all[0].Err != nil || all[1].ID != second || !errors.Is(all[1].Err, plug.ErrPermission) {
		t.Errorf("got %+v, %v; want both, the second as unreadable", all, err)
	}
	if _, err := r.Manifest(t.Context(), Latest); !errors.Is(err, plug.ErrPermission) || code.Of(err) != code.Storage {
		t.Errorf("latest: got %v (code %d), want ErrPermission", err, code.Of(err))
	}
	if _, err := r.Manifest(t.Context(), first); err != nil {
		t.Error(err)
	}
	if _, _, err := r.Discard(t.Context(), second, false); !errors.Is(err, plug.ErrPermission) {
		t.Errorf("discard: got %v, want ErrPermission", err)
	}
	if r, err = Open(t.Context(), shut{m, backupsDir}); err != nil {
		t.Fatal(err)
	}
	if all, err := r.List(t.Context()); !errors.Is(err, plug.ErrPermission) {
		t.Errorf("none may be read: got %v, %v; want ErrPermission, no empty list", all, err)
	}
}
