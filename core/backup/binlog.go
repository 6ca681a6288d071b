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
	"github.com/remora-backup/remora/core/copier"
	"github.com/remora-backup/remora/core/keyring"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/serverfile"
	"github.com/remora-backup/remora/core/syncpoint"
)

// binlogCopy is the binary log that was current at the sync point. A server that recovers
// needs it to decide about prepared transactions. The descriptor is opened under the lock,
// so a purge afterwards takes nothing away.
//
// An encrypted log is kept in plain, as tables are that are not encrypted: whoever recovers
// must tell which prepared transactions were committed, with or without the server's keyring.
type binlogCopy struct {
	file     *os.File
	name     string
	position int64 // bytes: the copy ends here, exactly
}

// openBinlog opens the current log; basename is @@log_bin_basename.
func openBinlog(basename, name string, position uint64) (*binlogCopy, error) {
	f, err := serverfile.Open(filepath.Join(filepath.Dir(basename), name))
	if err != nil {
		return nil, fmt.Errorf("open binlog: %w", err)
	}
	return &binlogCopy{file: f, name: name, position: int64(position)}, nil
}

// store copies the log up to its position, each packer its share, and computes the GTID set
// that was executed there: the server's own answer may lag behind its position.
func (b *binlogCopy) store(ctx context.Context, s *site) (repo.File, binlog.GTIDSet, error) {
	var executed binlog.GTIDSet
	file := repo.File{ID: s.store.NewFile(), Kind: repo.KindBinlog, Path: b.name, Size: b.position}
	if err := syncpoint.At(ctx, syncpoint.TailBinlog); err != nil {
		return file, executed, err
	}
	log, err := b.plain(s)
	if err != nil {
		return file, executed, err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		executed, err = b.gtids(log)
		return err
	})
	for i, p := range s.packers {
		group.Go(func() error {
			return b.share(ctx, log, p, file.ID, int64(i)*copier.ExtentSize, int64(len(s.packers))*copier.ExtentSize)
		})
	}
	err = group.Wait()
	return file, executed, err
}

// plain returns what the log holds, opened with the server's keyring if it is encrypted. What
// else is wrong with it shows when it is read.
func (b *binlogCopy) plain(s *site) (io.ReaderAt, error) {
	if _, err := binlog.NewReader(io.NewSectionReader(b.file, 0, b.position)); !errors.Is(err, binlog.ErrEncrypted) {
		return b.file, nil
	}
	log, err := keyring.Binlog(s.keyring, s.facts.DataDir, b.file)
	if err != nil {
		return nil, fmt.Errorf("read binlog %s: %w", b.name, err)
	}
	return log, nil
}

func (b *binlogCopy) gtids(log io.ReaderAt) (binlog.GTIDSet, error) {
	set, err := binlog.ExecutedAt(io.NewSectionReader(log, 0, b.position), b.position)
	if err != nil {
		return set, fmt.Errorf("read binlog %s up to position %d: %w", b.name, b.position, err)
	}
	return set, nil
}

// share stores the extents at from, from+step, and so on.
func (b *binlogCopy) share(ctx context.Context, log io.ReaderAt, packer *repo.Packer, id repo.FileID, from, step int64) error {
	buf := make([]byte, copier.ExtentSize)
	for at := from; at < b.position; at += step {
		part := buf[:min(copier.ExtentSize, b.position-at)]
		if _, err := log.ReadAt(part, at); err != nil {
			return fmt.Errorf("read binlog %s: %w", b.name, err)
		}
		if err := packer.Extent(ctx, repo.Extent{File: id, Offset: at}, part); err != nil {
			return err
		}
	}
	return nil
}
