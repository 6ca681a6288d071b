package prepare

import (
	"context"
	"os"

	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/version"
	"github.com/remora-backup/remora/core/xtrabackup"
)

// The kinds of directories.
const (
	kindExport     = "export"
	kindXtraBackup = "xtrabackup"
)

// source is what differs between directories of different makers: exported, full, increment.
type source interface {
	// describe reads what the directory says of itself, and refuses what cannot be prepared.
	// It changes nothing. past is how far an earlier run came.
	describe(d *directory, past stage) (*description, error)
	// apply goes on from what the markers left to where the redo log begins. It can be repeated.
	apply(ctx context.Context, root *os.Root) error
	// tell leaves what tells other tools that the directory is prepared. It can be repeated.
	tell(root *os.Root) error
}

// description is what a directory says of the data in it. After an earlier run has recovered
// it, its redo log is not looked at.
type description struct {
	kind         string
	backup       string // id of an export
	server       version.Version
	dataFilePath string // innodb_data_file_path, all below the directory
	undoDir      string // innodb_undo_directory, relative; "" is the directory itself
	lowerCase    int    // lower_case_table_names
	binlog       xtrabackup.Position
	databases    []string // of an export
	files        map[string]bool
	log          redoLog
	inPlace      bool     // the redo log lies where a server looks for it
	groups       [][]step // that carry out the markers; an earlier run has them in its journal
	markers      int      // how many; -1 if an earlier run counted them
	unmarkedDDL  bool     // files may have been created, renamed or deleted without a marker
	channels     []string // names of the source's replication channels
	prepared     bool     // by its own tool, or by an earlier run: no more is said
}

// site is what reading_directory found out. The other phases change what is in the directory,
// and its journal.
type site struct {
	*directory
	*description
	source  source
	journal *journal        // nil before the first change
	bin     string          // the mysqld
	set     []inert.Setting // by finalizing
}

func (s *site) result() Result {
	r := Result{
		Target: s.path, Kind: s.kind, Backup: s.backup, Markers: s.markers, BinlogFile: s.binlog.File, BinlogPosition: s.binlog.Offset,
		GTIDExecuted: s.binlog.GTIDs, LSN: uint64(s.log.end), Already: s.prepared,
		As: s.journal.role(), Set: s.set, Lift: inert.Statements(s.set),
	}
	if s.journal != nil {
		r.PreparedXA, r.XA = s.journal.PreparedXA, s.journal.XA
	}
	return r
}
