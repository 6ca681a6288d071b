// Package redomake makes the redo log from which a server recovers, of the blocks of a backup.
//
// A backup has the blocks in one piece, from that of the checkpoint to the end, where the
// last one is cut. They are written to where a server looks for them:
//
//	backup     block block block block block ...
//	           |--- file 0 ---|--- file 1 ...
//	#ib_redo0  header block block block
//	#ib_redo1                 header block block ... zeros
package redomake

import (
	"errors"
	"fmt"
	"os"
	"path"
	"syscall"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/version"
)

// Spec says which log is to be made.
type Spec struct {
	Checkpoint redo.LSN // where recovery begins
	End        redo.LSN // where the last block is cut
	PageSize   int      // innodb_page_size, bytes
	Server     version.Version
	Number     uint32          // all files carry it; any but zero
	Encryption redo.Encryption // the sealed key of the blocks, if they are encrypted
	MaxFile    int64           // bounds the files made, bytes; 0 is the server's own bound
}

// Log is a redo log to be made, as files in one directory.
type Log struct {
	layout  []redo.File
	headers []redo.FileHeader
	size    int64 // of all blocks, bytes
}

// Plan lays out the files. An error says that no server would take such a log
// (code.Integrity).
func Plan(s Spec) (*Log, error) {
	layout, err := redo.Layout(s.Checkpoint, s.End, s.PageSize, s.MaxFile)
	if err != nil {
		return nil, code.Default(code.Integrity, err)
	}
	creator := fmt.Sprintf("MySQL %d.%d.%d", s.Server.Major, s.Server.Minor, s.Server.Patch)
	l := &Log{layout: layout, headers: redo.Headers(layout, s.Checkpoint, s.Number, creator)}
	for i := range l.headers {
		l.headers[i].Encryption = s.Encryption
	}
	l.size = int64(s.End.BlockStart()-s.Checkpoint.BlockStart()) + redo.BlockSize
	return l, nil
}

// Size is how many bytes of blocks the log takes.
func (l *Log) Size() int64 { return l.size }

// Mode is what a server gives to its files.
const Mode = 0o640

// Create makes the files in dir, which exists, with their headers; the blocks are still zeros,
// or what an earlier run left. own, if not nil, gives each to its owner. all reports whether
// every file was there, in its size.
func (l *Log) Create(root *os.Root, dir string, own func(*os.File) error) (all bool, err error) {
	all = true
	for i, f := range l.layout {
		there, err := create(root, path.Join(dir, redo.Name(f.ID)), f.Size, l.headers[i], own)
		if err != nil {
			return false, fmt.Errorf("make the redo log: %w", err)
		}
		all = all && there
	}
	return all, nil
}

func create(root *os.Root, name string, size int64, h redo.FileHeader, own func(*os.File) error) (there bool, err error) {
	file, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|syscall.O_NOFOLLOW, Mode)
	if err != nil {
		return false, err
	}
	defer file.Close()
	if own != nil {
		if err := own(file); err != nil {
			return false, err
		}
	}
	info, err := file.Stat()
	if err != nil {
		return false, err
	}
	if there = info.Size() == size; !there {
		if err := file.Truncate(size); err != nil {
			return false, err
		}
	}
	if _, err := file.WriteAt(h.Append(nil), 0); err != nil {
		return false, err
	}
	return there, file.Close()
}

// Open opens the files that Create made, for their blocks. The caller closes what it returns.
func (l *Log) Open(root *os.Root, dir string) (*Blocks, error) {
	b := &Blocks{log: l}
	for _, f := range l.layout {
		file, err := openPlain(root, path.Join(dir, redo.Name(f.ID)))
		if err != nil {
			return nil, errors.Join(err, b.Close())
		}
		b.files = append(b.files, file)
	}
	return b, nil
}

// openPlain opens a file of ours for writing. What is not a plain file with one name was put
// there by somebody else.
func openPlain(root *os.Root, name string) (*os.File, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !info.Mode().IsRegular() || !ok || st.Nlink != 1 {
		return nil, code.New(code.Target, "open %s: it is not a plain file", name)
	}
	return root.OpenFile(name, os.O_WRONLY|syscall.O_NOFOLLOW, 0)
}

// Blocks takes the blocks of a log, by their offset in the backup: 0 is that of the checkpoint.
type Blocks struct {
	log   *Log
	files []*os.File
}

// WriteAt writes whole blocks. Those of a server that made no checksums get them, so that
// recovery notices damage: p is changed. It may be called from several goroutines at once.
func (b *Blocks) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off%redo.BlockSize != 0 || len(p)%redo.BlockSize != 0 || off+int64(len(p)) > b.log.size {
		return 0, code.New(code.Integrity, "write redo: %d bytes at %d are not blocks of the log", len(p), off)
	}
	for rest := p; len(rest) > 0; rest = rest[redo.BlockSize:] {
		redo.Seal(rest[:redo.BlockSize])
	}
	done := 0
	for i, f := range b.log.layout {
		begin := int64(f.Start - b.log.layout[0].Start)
		length := f.Size - redo.HeaderSize
		at := off + int64(done) - begin
		if at < 0 || at >= length || done == len(p) {
			continue
		}
		part := p[done:min(int64(len(p)), int64(done)+length-at)]
		n, err := b.files[i].WriteAt(part, redo.HeaderSize+at)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Close closes the files; the blocks are not synced.
func (b *Blocks) Close() error {
	var first error
	for _, f := range b.files {
		if err := f.Close(); first == nil {
			first = err
		}
	}
	return first
}
