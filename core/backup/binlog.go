package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/remora-backup/remora/core/binlog"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/copier"
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
}

// openBinlog opens the current log; basename is @@log_bin_basename.
func openBinlog(basename, name string, position uint64) (*binlogCopy, error) {
	f, err := os.Open(filepath.Join(filepath.Dir(basename), name))
	if err != nil {
		return nil, fmt.Errorf("open binlog: %w", err)
	}
	return &binlogCopy{file: f, name: name, position: int64(position)}, nil
}

// store copies the log up to its position, each packer its share, and computes the GTID set
// that was executed there: the server's own answer may lag behind its position.
func (b *binlogCopy) store(ctx context.Context, store *repo.Backup, packers []*repo.Packer) (repo.File, binlog.GTIDSet, error) {
	var executed binlog.GTIDSet
	file := repo.File{ID: store.NewFile(), Kind: repo.KindBinlog, Path: b.name, Size: b.position}
	if err := syncpoint.At(ctx, syncpoint.TailBinlog); err != nil {
		return file, executed, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		executed, err = b.gtids()
		return err
	})
	for i, p := range packers {
		group.Go(func() error {
			return b.share(ctx, p, file.ID, int64(i)*copier.ExtentSize, int64(len(packers))*copier.ExtentSize)
		})
	}
	err := group.Wait()
	return file, executed, err
}

func (b *binlogCopy) gtids() (binlog.GTIDSet, error) {
	set, err := binlog.ExecutedAt(io.NewSectionReader(b.file, 0, b.position), b.position)
	if errors.Is(err, binlog.ErrEncrypted) {
		return set, code.Hint(code.Version, "SET GLOBAL binlog_encryption = OFF", "read binlog %s: %w", b.name, err)
	}
	if err != nil {
		return set, fmt.Errorf("read binlog %s up to position %d: %w", b.name, b.position, err)
	}
	return set, nil
}

// share stores the extents at from, from+step, and so on.
func (b *binlogCopy) share(ctx context.Context, packer *repo.Packer, id repo.FileID, from, step int64) error {
	buf := make([]byte, copier.ExtentSize)
	for at := from; at < b.position; at += step {
		part := buf[:min(copier.ExtentSize, b.position-at)]
		if _, err := b.file.ReadAt(part, at); err != nil {
			return fmt.Errorf("read binlog %s: %w", b.name, err)
		}
		if err := packer.Extent(ctx, repo.Extent{File: id, Offset: at}, part); err != nil {
			return err
		}
	}
	return nil
}
