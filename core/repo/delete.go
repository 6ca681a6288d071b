package repo

import (
	"context"
	"fmt"
	"slices"

	"github.com/remora-backup/remora/core/code"
)

// Delete deletes a backup, its manifest first, so that it is no backup from then on, looks whether all of it is gone,
// and returns how many bytes that was. Latest is no id here.
//
// A backup that another one needs is never deleted. With code.Usage it refuses, unless forced: the last sound backup
// of its server, what has no manifest, which may be a backup that somebody takes right now, what cannot be told, as
// its manifest may not be read or is of a newer version, and any while another one cannot tell what it needs.
func (r *Repo) Delete(ctx context.Context, id string, force bool) (freed int64, err error) {
	if !ValidID(id) {
		return 0, code.Hint(code.Usage, listHint, "delete backup %.40q: not an id", id)
	}
	freed, err = r.deletable(ctx, id, force)
	if err != nil {
		return 0, err
	}
	if _, _, err := r.Discard(ctx, id, false); err != nil {
		return 0, code.Hint(code.Of(err), "remora delete "+id+" --force", "delete backup %s: not all of it is gone: %w", id, err)
	}
	left, err := r.ids(ctx)
	if err != nil {
		return 0, fmt.Errorf("look whether backup %s is gone: %w", id, err)
	}
	if i := slices.IndexFunc(left, func(f found) bool { return f.id == id }); i >= 0 {
		return 0, code.Hint(code.Storage, "remora delete "+id+" --force", "delete backup %s: the storage deleted it and still lists %d bytes of it", id, left[i].size)
	}
	return freed, nil
}

// deletable returns the size in bytes of a backup that may be deleted.
func (r *Repo) deletable(ctx context.Context, id string, force bool) (int64, error) {
	all, err := r.ids(ctx)
	if err != nil {
		return 0, err
	}
	at := slices.IndexFunc(all, func(f found) bool { return f.id == id })
	if at < 0 {
		return 0, code.Hint(code.Usage, listHint, "delete backup %s: there is none with that id", id)
	}
	if !all[at].manifest {
		if force {
			return all[at].size, nil
		}
		return 0, code.Hint(code.Usage, "if nobody takes it any more: remora delete "+id+" --force",
			"delete backup %s: it has no manifest, so it is unfinished; somebody may be taking it now", id)
	}
	listed, err := r.List(ctx)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(listed, func(s Summary) bool { return s.ID == id })
	if i < 0 {
		return 0, code.Hint(code.Usage, listHint, "delete backup %s: it has just gone", id)
	}
	return all[at].size, spare(listed, listed[i], force)
}

// spare refuses what must not be deleted, or not without force.
func spare(all []Summary, s Summary, force bool) error {
	sound := 0
	for _, other := range all {
		if other.ID == s.ID {
			continue
		}
		if slices.Contains(other.Manifest.Bases, s.ID) {
			return code.Hint(code.Usage, "delete "+other.ID+" first", "delete backup %s: backup %s needs it", s.ID, other.ID)
		}
		if other.Err != nil && !force {
			return code.Hint(code.Usage, "mend or delete "+other.ID+" first, or add --force",
				"delete backup %s: whether backup %s needs it cannot be told: %w", s.ID, other.ID, other.Err)
		}
		if other.Err == nil && other.Manifest.Server.UUID == s.Manifest.Server.UUID {
			sound++
		}
	}
	if s.Err != nil && code.Of(s.Err) != code.Integrity && !force {
		return code.Hint(code.Usage, "remora delete "+s.ID+" --force", "delete backup %s: what it is cannot be told: %w", s.ID, s.Err)
	}
	if s.Err == nil && sound == 0 && !force {
		return code.Hint(code.Usage, "remora delete "+s.ID+" --force", "delete backup %s: it is the last one of server %s", s.ID, s.Manifest.Server.UUID)
	}
	return nil
}
