package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/remora-backup/remora/core/binlog"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/syncpoint"
)

// binlogCopy is the binary log that was current at the sync point. A server that recovers
// needs it to decide about prepared transactions. The descriptor is opened under the lock,
// so a purge afterwards takes nothing away.
type binlogCopy struct {
	file     *os.File
	name     string
	position int64 // bytes: the copy ends here, exactly
	id       repo.FileID
	executed binlog.GTIDSet // computed from the log itself
}

// openBinlog opens the current log; basename is @@log_bin_basename.
func openBinlog(basename, name string, position uint64) (*binlogCopy, error) {
	f, err := os.Open(filepath.Join(filepath.Dir(basename), name))
	if err != nil {
		return nil, fmt.Errorf("open binlog: %w", err)
	}
	return &binlogCopy{file: f, name: name, position: int64(position)}, nil
}

// store copies the log up to its position and computes the GTID set that was executed
// there: the server's own answer may lag behind its position.
func (b *binlogCopy) store(ctx context.Context, backup *repo.Backup, packer *repo.Packer) error {
	if err := syncpoint.At(ctx, syncpoint.TailBinlog); err != nil {
		return err
	}
	set, err := binlog.ExecutedAt(io.NewSectionReader(b.file, 0, b.position), b.position)
	if errors.Is(err, binlog.ErrEncrypted) {
		return code.Hint(code.Version, "SET GLOBAL binlog_encryption = OFF", "read binlog %s: %w", b.name, err)
	}
	if err != nil {
		return fmt.Errorf("read binlog %s up to position %d: %w", b.name, b.position, err)
	}
	b.executed, b.id = set, backup.NewFile()
	buf := make([]byte, extentSize)
	for at := int64(0); at < b.position; at += extentSize {
		part := buf[:min(extentSize, b.position-at)]
		if _, err := b.file.ReadAt(part, at); err != nil {
			return fmt.Errorf("read binlog %s: %w", b.name, err)
		}
		if err := packer.Extent(ctx, repo.Extent{File: b.id, Offset: at}, part); err != nil {
			return err
		}
	}
	return nil
}

func (b *binlogCopy) close() {
	if b != nil {
		b.file.Close()
	}
}
