package prepare

import (
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/innodb/tablespace"
	"github.com/remora-backup/remora/core/mysqld"
)

// seen holds what the recovered server said of itself against the directory: it knows each
// tablespace that lies there, and has executed what an export says. XtraBackup's word for the
// GTIDs is the source's own answer, which may lag behind the position, and what it copied of a
// dropped table may lie there still.
func (w recoverPhase) seen(done mysqld.RecoverResult) error {
	spaces, undo, err := w.tablespaces()
	if err != nil {
		return err
	}
	if w.journal.PreparedXA = done.PreparedXA; done.PreparedXA > 0 {
		if w.journal.XA, err = inert.PreparedXA(w.root, undo, w.log.page); err != nil {
			return err
		}
	}
	if w.kind != kindExport {
		return nil
	}
	err = done.Answers.Check(w.binlog.GTIDs, spaces)
	if err == nil {
		err = done.Answers.Lost()
	}
	if err != nil {
		return code.Hint(code.Of(err), "export the backup again, into an empty directory", "%w", err)
	}
	return nil
}

// tablespaces returns the paths of those in the directory, by id, and those for undo.
func (w recoverPhase) tablespaces() (spaces map[uint32]string, undo []string, err error) {
	l, err := w.list()
	if err != nil {
		return nil, nil, err
	}
	spaces = map[uint32]string{}
	for name := range l.files {
		if (tablespace.Names{}).Kind(name) == tablespace.UndoFile || strings.HasSuffix(name, ".ibu") {
			undo = append(undo, name)
			continue
		}
		if !strings.HasSuffix(name, ".ibd") {
			continue
		}
		if id, known, err := spaceOf(w.root, name); err != nil {
			return nil, nil, err
		} else if known {
			spaces[id] = name
		}
	}
	return spaces, undo, nil
}
