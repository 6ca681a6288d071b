package redolog

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/serverfile"
)

// So many bytes are asked of a redo file at once: few at the end of the log, where most
// passes find nothing new, up to a MiB behind it.
const (
	lookSize  = 8 << 10
	chunkSize = 1 << 20
)

// ErrSwitchedOff means that redo logging was switched off: no log tells what changed meanwhile.
var ErrSwitchedOff = code.New(code.Version, "redo logging was switched off during the backup: what changed meanwhile is lost to it")

// tornFor is how long a block may look torn before it is called damaged: the server
// rewrites the block it is working on within milliseconds.
const tornFor = 5 * time.Second

// files reads the redo files of a running server as one stream of blocks.
//
// The server renames a file that it does not need any more and uses it again, so an
// open descriptor can turn into another file at any time; every idle pass therefore
// looks at the header again. Source: log_files_governor, log_files_next_checkpoint.
type files struct {
	dir  string
	sums redo.Checksums

	header  redo.FileHeader // of the file that held the checkpoint when we began
	file    *os.File
	id      uint64
	start   redo.LSN // of the open file
	next    redo.LSN // the block to read next
	tornAt  redo.LSN
	tornNow time.Time
	ahead   int // bytes to read at once: few where the log ends, many behind
	buf     []byte
	again   []byte // second reading, only without checksums
	key     *key
}

// openFiles finds the newest checkpoint over all redo files of dir and places the reader
// on its block.
func openFiles(dir string, sums redo.Checksums, key *key) (*files, redo.LSN, error) {
	r := &files{dir: dir, sums: sums, key: key, ahead: lookSize, buf: make([]byte, chunkSize)}
	if sums == redo.AllowNone {
		r.again = make([]byte, chunkSize)
	}
	// The file set may change between the listing and the opening; a few tries see it
	// at rest.
	var err error
	for range 20 {
		var at redo.LSN
		if at, err = r.findCheckpoint(); err == nil {
			r.next = at.BlockStart()
			return r, at, nil
		}
		r.close()
		if c := code.Of(err); c == code.Version || c == code.ServerGone {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, 0, fmt.Errorf("find the newest checkpoint in %s: %w", dir, err)
}

func (r *files) close() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
}

func (r *files) findCheckpoint() (redo.LSN, error) {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return 0, err
	}
	var best redo.LSN
	for _, e := range entries {
		id, spare, ok := redo.ParseName(e.Name())
		if !ok || spare {
			continue
		}
		h, err := readHeader(filepath.Join(r.dir, e.Name()))
		if errors.Is(err, redo.ErrFormat) {
			return 0, code.New(code.Version, "read %s: %w", e.Name(), err)
		}
		if err != nil {
			return 0, fmt.Errorf("read %s: %w", e.Name(), err)
		}
		if at := h.Checkpoint(); at > best {
			best, r.id, r.header, r.start = at, id, h, h.Start
		}
	}
	if best == 0 {
		return 0, errors.New("no file holds a checkpoint")
	}
	return best, r.open(r.id, r.start)
}

// open makes file id the current one; it must begin at start and belong to the same log.
func (r *files) open(id uint64, start redo.LSN) error {
	f, err := serverfile.Open(filepath.Join(r.dir, redo.Name(id)))
	if err != nil {
		return err
	}
	h, err := headerOf(f)
	if err == nil && h.UUID != r.header.UUID {
		err = code.New(code.ServerGone, "redo file %s belongs to another log (uuid %d, want %d)", f.Name(), h.UUID, r.header.UUID)
	}
	if err == nil && h.Start != start {
		err = r.overrun(fmt.Sprintf("file %s begins at %d", redo.Name(id), h.Start))
	}
	if err != nil {
		f.Close()
		return err
	}
	r.close()
	r.file, r.id, r.start = f, id, start
	return nil
}

func (r *files) overrun(seen string) error {
	return code.Hint(code.RedoOverrun,
		"grant BACKUP_ADMIN so that a redo log consumer can be registered, or raise innodb_redo_log_capacity",
		"redo log overrun: the server overwrote redo at LSN %d before it was copied (%s)", r.next, seen)
}

// poll reads what the server has written since the last call and hands each sound block
// to take, in order; the last one may be handed over again with more data later. It
// returns how many blocks were full.
func (r *files) poll(take func(raw []byte, b redo.Block) error) (int, error) {
	full := 0
	for {
		n, err := r.readChunk()
		if err != nil {
			return full, err
		}
		got, more, err := r.takeChunk(r.buf[:n], take)
		full += got
		if err != nil || !more {
			r.ahead = lookSize
			return full, err
		}
		r.ahead = min(2*r.ahead, chunkSize)
		if n > 0 {
			continue
		}
		switched, err := r.nextFile()
		if err != nil || !switched {
			return full, err
		}
	}
}

// readChunk gets whole blocks from next on into the buffer, as far as the file goes.
func (r *files) readChunk() (int, error) {
	offset := redo.HeaderSize + int64(r.next-r.start)
	st, err := r.file.Stat() // the newest file may shrink: never trust an older size
	if err != nil {
		return 0, fmt.Errorf("stat redo file: %w", err)
	}
	n := int(min(st.Size()-offset, int64(r.ahead))) &^ (redo.BlockSize - 1)
	if n <= 0 {
		return 0, nil
	}
	if _, err := r.file.ReadAt(r.buf[:n], offset); err != nil {
		return 0, fmt.Errorf("read redo at LSN %d: %w", r.next, err)
	}
	if r.again != nil {
		if _, err := r.file.ReadAt(r.again[:n], offset); err != nil {
			return 0, fmt.Errorf("read redo at LSN %d again: %w", r.next, err)
		}
	}
	return n, nil
}

// takeChunk hands over the blocks of b; more is false when the log's end was met in it.
func (r *files) takeChunk(b []byte, take func([]byte, redo.Block) error) (full int, more bool, err error) {
	for i := 0; i < len(b); i += redo.BlockSize {
		raw := b[i : i+redo.BlockSize]
		block, state := redo.ParseBlock(raw, r.next, r.sums)
		if state == redo.Encrypted {
			if block, state, err = r.decrypt(raw); err != nil {
				return full, false, err
			}
		}
		if state == redo.Good && r.again != nil && !bytes.Equal(raw, r.again[i:i+redo.BlockSize]) {
			state = redo.Torn // without checksums only a second reading tells
		}
		if state != redo.Good {
			return full, false, r.notGood(state)
		}
		if err := take(raw, block); err != nil {
			return full, false, err
		}
		if !block.Full() {
			return full, false, r.recheck()
		}
		full++
		r.next += redo.BlockSize
	}
	return full, true, nil
}

func (r *files) notGood(state redo.State) error {
	switch state {
	case redo.Ahead:
		return r.overrun("the file holds later redo already")
	case redo.Torn:
		if r.tornAt != r.next {
			r.tornAt, r.tornNow = r.next, time.Now()
		} else if time.Since(r.tornNow) > tornFor {
			return code.New(code.CorruptPage, "redo block at LSN %d stays damaged", r.next)
		}
	}
	return r.recheck()
}

// recheck makes sure that the open file is still the one that it was.
func (r *files) recheck() error {
	h, err := headerOf(r.file)
	switch {
	case errors.Is(err, redo.ErrCorrupt):
		return nil // being rewritten; the next pass sees it whole
	case err != nil:
		return fmt.Errorf("read the header of redo file %d again: %w", r.id, err)
	case h.Start != r.start:
		return r.overrun(fmt.Sprintf("its file was used again from LSN %d on", h.Start))
	case h.Flags&(redo.NoLogging|redo.CrashUnsafe) != 0:
		return ErrSwitchedOff
	}
	return nil
}

// nextFile moves on to the following file if the server has begun it.
func (r *files) nextFile() (bool, error) {
	if err := r.recheck(); err != nil {
		return false, err
	}
	err := r.open(r.id+1, r.next)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, r.stillThere()
	case errors.Is(err, redo.ErrCorrupt):
		return false, nil
	}
	return false, err
}

// stillThere tells "the next file does not exist yet" from "it came and went".
func (r *files) stillThere() error {
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return fmt.Errorf("list redo files: %w", err)
	}
	for _, e := range entries {
		if id, spare, ok := redo.ParseName(e.Name()); ok && !spare && id > r.id+1 {
			if _, err := os.Stat(filepath.Join(r.dir, redo.Name(r.id+1))); errors.Is(err, fs.ErrNotExist) {
				return r.overrun(fmt.Sprintf("file %s is gone, %s exists", redo.Name(r.id+1), e.Name()))
			}
		}
	}
	return nil
}
