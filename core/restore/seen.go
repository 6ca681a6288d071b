package restore

import (
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/repo"
)

// seen holds what the recovered server says of itself against the backup.
func seen(m *repo.Manifest, t *tree, a mysqld.Answers) error {
	spaces := map[uint32]string{}
	for _, f := range t.files {
		if f.Kind == repo.KindTablespace && f.SpaceID != tablespace.System && !tablespace.IsUndo(f.SpaceID) { // a truncated undo tablespace gets another id
			spaces[f.SpaceID] = f.Path
		}
	}
	return a.Check(m.GTIDExecuted, spaces)
}
