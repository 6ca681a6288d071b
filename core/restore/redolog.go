package restore

import (
	"hash/crc32"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/redomake"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/staging"
	"github.com/remora-backup/remora/core/version"
)

// redoDir is where the made redo log lies in the staging directory.
const redoDir = staging.Data + "/" + redo.Dir

// planRedo lays out the redo log that is made of the file f of a backup. maxFile bounds the
// files made, in bytes; 0 is the server's own bound.
func planRedo(m *repo.Manifest, v version.Version, f *repo.File, maxFile int64) (*redomake.Log, error) {
	checkpoint, end := redo.LSN(m.LSN.Checkpoint), redo.LSN(m.LSN.End)
	if redo.LSN(m.LSN.Start) != checkpoint.BlockStart() {
		return nil, code.New(code.Integrity, "lay out the redo log: it begins at %d, not with the block of checkpoint %d", m.LSN.Start, checkpoint)
	}
	key, err := encryption(f)
	if err != nil {
		return nil, err
	}
	log, err := redomake.Plan(redomake.Spec{
		Checkpoint: checkpoint, End: end, PageSize: m.Server.PageSize, Server: v, MaxFile: maxFile, Encryption: key,
		// It comes from the backup so that a run that goes on with the files of another
		// makes the same headers.
		Number: crc32.ChecksumIEEE([]byte(m.ID)) | 1,
	})
	if err != nil {
		return nil, err
	}
	if want := log.Size(); f.Size != want {
		return nil, code.New(code.Integrity, "lay out the redo log: LSN %d to %d needs %d bytes, the backup has %d", checkpoint, end, want, f.Size)
	}
	return log, nil
}
