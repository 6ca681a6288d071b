package repo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/remora-backup/remora/core/plug"
)

// Discard deletes what a backup that did not come to its end left in the storage, and
// returns how many objects those were. With keepWhole one that has a manifest stays: all of
// it was there when that was put. The id must be that of a backup nobody writes any more:
// the storage cannot tell.
func (r *Repo) Discard(ctx context.Context, id string, keepWhole bool) (removed int, whole bool, err error) {
	if !ValidID(id) {
		return 0, false, fmt.Errorf("discard backup %.40q: not an id", id)
	}
	switch _, err := r.storage.Stat(ctx, manifestName(id)); {
	case err == nil && keepWhole:
		return 0, true, nil
	case err == nil: // first, so that it is no backup from then on
		if err := r.storage.Delete(ctx, manifestName(id)); err != nil {
			return 0, false, failed(ctx, "delete", manifestName(id), err)
		}
		removed = 1
	case !errors.Is(err, plug.ErrNotExist):
		return 0, false, failed(ctx, "stat", manifestName(id), err)
	}
	var names []string
	for obj, err := range r.storage.List(ctx, dirName(id)) {
		if err != nil {
			return 0, false, failed(ctx, "list", dirName(id), err)
		}
		if strings.HasSuffix(obj.Name, "/") {
			return 0, false, failed(ctx, "list", obj.Name, plug.ErrPermission)
		}
		names = append(names, obj.Name)
	}
	for i, name := range names {
		if err := r.storage.Delete(ctx, name); err != nil {
			return removed + i, false, failed(ctx, "delete", name, err)
		}
	}
	return removed + len(names), false, nil
}
