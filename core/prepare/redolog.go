package prepare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/redomake"
	"github.com/remora-backup/remora/core/version"
)

// redoLog is the redo of a backup, from the block of the checkpoint to end.
type redoLog struct {
	name       string // of the file, for messages
	parts      []part
	checkpoint redo.LSN
	end        redo.LSN
	page       int // innodb_page_size, bytes
	sums       redo.Checksums
	info       redo.Encryption
	open       func(redo.Encryption) (*redo.Key, error) // called once, for a log that is encrypted
	key        *redo.Key
	events     []redo.Event // of files, noted by check
}

// part is one file of it.
type part struct {
	file  *os.File
	start redo.LSN // of the block behind its header
	stop  redo.LSN // of the block after its last
}

func (l *redoLog) close() {
	for _, p := range l.parts {
		p.file.Close()
	}
}

// chunk is how much is read at once, in bytes.
const chunk = 1 << 20

// blocks hands over all blocks up to that of end, which is cut there. Each has been found
// sound.
func (l *redoLog) blocks(ctx context.Context, take func(b redo.Block, raw []byte) error) error {
	buf := make([]byte, chunk)
	last := l.end.BlockStart()
	for at := l.checkpoint.BlockStart(); at <= last; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		n, err := l.read(buf[:min(chunk, int(last-at)+redo.BlockSize)], at)
		if err != nil {
			return err
		}
		for rest := buf[:n]; len(rest) > 0; rest = rest[redo.BlockSize:] {
			raw := rest[:redo.BlockSize]
			b, err := l.block(at, raw)
			if err != nil {
				return err
			}
			if err := take(b, raw); err != nil {
				return err
			}
			at += redo.BlockSize
		}
	}
	return nil
}

// block checks one block; the last is cut. raw stays encrypted if it is.
func (l *redoLog) block(at redo.LSN, raw []byte) (redo.Block, error) {
	plain, err := l.plain(raw)
	if err != nil {
		return redo.Block{}, fmt.Errorf("read %s at LSN %d: %w", l.name, at, err)
	}
	b, state := redo.ParseBlock(plain, at, l.sums)
	last := at == l.end.BlockStart()
	switch {
	case state != redo.Good:
		return b, code.New(code.Integrity, "read %s: the block at LSN %d is %v; the backup ends at %d", l.name, at, state, l.end)
	case !last && !b.Full() || last && b.End() < l.end:
		return b, code.New(code.Integrity, "read %s: the redo ends at LSN %d, the backup at %d", l.name, b.End(), l.end)
	case last:
		redo.Cut(plain, l.end)
		b, _ = redo.ParseBlock(plain, at, l.sums)
		l.put(raw, plain)
	}
	return b, nil
}

// plain returns the block decrypted: raw itself if it is not encrypted, else a copy.
func (l *redoLog) plain(raw []byte) ([]byte, error) {
	if !redo.IsEncrypted(raw) {
		return raw, nil
	}
	if l.key == nil {
		var err error
		if l.key, err = l.open(l.info); err != nil {
			return nil, err
		}
	}
	plain := append([]byte(nil), raw...)
	l.key.Decrypt(plain)
	return plain, nil
}

// put makes raw what plain is now, encrypted as it was.
func (l *redoLog) put(raw, plain []byte) {
	if !redo.IsEncrypted(raw) {
		return // they are the same
	}
	copy(raw, plain)
	l.key.Encrypt(raw)
}

// read fills b, at most, with the blocks from at on.
func (l *redoLog) read(b []byte, at redo.LSN) (int, error) {
	for _, p := range l.parts {
		if at < p.start || at >= p.stop {
			continue
		}
		b = b[:min(len(b), int(p.stop-at))]
		if _, err := p.file.ReadAt(b, redo.HeaderSize+int64(at-p.start)); err != nil {
			return 0, fmt.Errorf("read %s at LSN %d: %w", l.name, at, err)
		}
		return len(b), nil
	}
	// A mini-transaction that filled its block ends in a block that may not be there.
	if at == l.end.BlockStart() && l.end.Offset() == redo.BlockHeader {
		return copy(b, redo.EmptyBlock(at)), nil
	}
	return 0, code.New(code.Integrity, "read %s: it ends before LSN %d, the backup ends at %d", l.name, at, l.end)
}

// check reads the log to its end: every block must be right, and a mini-transaction must
// end exactly there.
func (l *redoLog) check(ctx context.Context) error {
	if !l.checkpoint.Valid() || !l.end.Valid() || l.end < l.checkpoint {
		return code.New(code.Integrity, "read %s: LSN %d to %d is no range of redo", l.name, l.checkpoint, l.end)
	}
	parser := redo.NewParser(l.checkpoint, l.page, func(e redo.Event) { l.events = append(l.events, e) })
	err := l.blocks(ctx, func(b redo.Block, _ []byte) error {
		if err := parser.Feed(b); err != nil {
			return code.New(code.Integrity, "read %s: %w", l.name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if at := parser.ParsedLSN(); at != l.end && !(at == 0 && l.end == l.checkpoint) {
		return code.New(code.Integrity, "read %s: the last change ends at LSN %d, the backup at %d", l.name, at, l.end)
	}
	return nil
}

// make writes the log to where a server looks for it. It can be repeated.
func (l *redoLog) make(ctx context.Context, root *os.Root, v version.Version) error {
	log, err := redomake.Plan(redomake.Spec{Checkpoint: l.checkpoint, End: l.end, PageSize: l.page, Server: v, Number: 1, Encryption: l.info})
	if err != nil {
		return err
	}
	if err := root.RemoveAll(redo.Dir); err != nil {
		return fmt.Errorf("make the redo log: %w", err)
	}
	if err := root.Mkdir(redo.Dir, dirMode); err != nil {
		return fmt.Errorf("make the redo log: %w", code.Full(err))
	}
	if _, err := log.Create(root, redo.Dir, nil); err != nil {
		return code.Full(err)
	}
	to, err := log.Open(root, redo.Dir)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(io.NewOffsetWriter(to, 0), chunk) // a multiple of the block size
	err = l.blocks(ctx, func(_ redo.Block, raw []byte) error {
		_, err := out.Write(raw)
		return err
	})
	if err == nil {
		err = out.Flush()
	}
	if err := errors.Join(err, to.Close()); err != nil {
		return fmt.Errorf("make the redo log: %w", code.Full(err))
	}
	return nil
}

// checkDDL refuses what a stock server does not do in recovery: it reads of files that
// were created, renamed or deleted and leaves the directory as it is. check came before.
func (l *redoLog) checkDDL() error {
	for _, e := range l.events {
		if slices.Contains([]redo.Type{redo.FileCreate, redo.FileRename, redo.FileDelete}, e.Type) {
			return code.Hint(code.Version, "prepare it with XtraBackup",
				"read %s: DDL ran while it was copied with --lock-ddl=OFF (%v of %s at LSN %d), which a stock server does not carry out", l.name, e.Type, e.Path, e.Start)
		}
	}
	return nil
}

// headerOf reads the header of a redo file.
func headerOf(f *os.File) (redo.FileHeader, error) {
	var b [redo.HeaderSize]byte
	if _, err := f.ReadAt(b[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return redo.FileHeader{}, err
	} else if err != nil {
		return redo.FileHeader{}, code.New(code.Integrity, "%w", io.ErrUnexpectedEOF)
	}
	h, err := redo.ParseFileHeader(b[:])
	if errors.Is(err, redo.ErrFormat) {
		return h, code.Default(code.Version, err)
	}
	return h, code.Default(code.Integrity, err)
}
