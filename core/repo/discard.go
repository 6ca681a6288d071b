package repo

import (
	"context"
	"errors"
	"fmt"

	"github.com/remora-backup/remora/core/plug"
)

// Discard deletes what a backup that died before its manifest left in the storage, and
// returns how many objects those were. One that has a manifest is whole and stays. The id
// must be that of a backup nobody writes any more: the storage cannot tell.
func (r *Repo) Discard(ctx context.Context, id string) (removed int, whole bool, err error) {
	if !ValidID(id) {
		return 0, false, fmt.Errorf("discard backup %.40q: not an id", id)
	}
	switch _, err := r.storage.Stat(ctx, manifestName(id)); {
	case err == nil:
		return 0, true, nil
	case !errors.Is(err, plug.ErrNotExist):
		return 0, false, failed(ctx, "stat", manifestName(id), err)
	}
	var names []string
	for obj, err := range r.storage.List(ctx, dirName(id)) {
		if err != nil {
			return 0, false, failed(ctx, "list", dirName(id), err)
		}
		names = append(names, obj.Name)
	}
	for i, name := range names {
		if err := r.storage.Delete(ctx, name); err != nil {
			return i, false, failed(ctx, "delete", name, err)
		}
	}
	return len(names), false, nil
}
