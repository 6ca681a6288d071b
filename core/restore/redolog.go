package restore

import (
	"fmt"
	"hash/crc32"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/version"
)

// redoLog is the made redo log from which the server recovers.
//
// The backup holds the blocks as one file, from the block of the checkpoint to the end,
// where the last one was cut. They are written to where a server looks for them:
//
//	backup     block block block block block ...
//	           |--- file 0 ---|--- file 1 ...
//	#ib_redo0  header block block block
//	#ib_redo1                 header block block ... zeros
type redoLog struct {
	layout  []redo.File
	headers []redo.FileHeader
	size    int64 // of the blocks in the backup, bytes
}

// planRedo lays out the redo log of a backup; size is that of the backup's redo file.
// maxFile bounds the files made, in bytes; 0 is the server's own bound.
func planRedo(m *repo.Manifest, v version.Version, size, maxFile int64) (*redoLog, error) {
	checkpoint, end := redo.LSN(m.LSN.Checkpoint), redo.LSN(m.LSN.End)
	if redo.LSN(m.LSN.Start) != checkpoint.BlockStart() {
		return nil, code.New(code.Integrity, "lay out the redo log: it begins at %d, not with the block of checkpoint %d", m.LSN.Start, checkpoint)
	}
	if want := int64(end.BlockStart()-checkpoint.BlockStart()) + redo.BlockSize; size != want {
		return nil, code.New(code.Integrity, "lay out the redo log: LSN %d to %d needs %d bytes, the backup has %d", checkpoint, end, want, size)
	}
	layout, err := redo.Layout(checkpoint, end, m.Server.PageSize, maxFile)
	if err != nil {
		return nil, code.Default(code.Integrity, err)
	}
	// All files carry one number, any but zero. It comes from the backup so that a run
	// that goes on with the files of another makes the same headers.
	uuid := crc32.ChecksumIEEE([]byte(m.ID)) | 1
	creator := fmt.Sprintf("MySQL %d.%d.%d", v.Major, v.Minor, v.Patch)
	return &redoLog{layout: layout, headers: redo.Headers(layout, checkpoint, uuid, creator), size: size}, nil
}

// create makes the files with their headers; the blocks are still zeros. all reports
// whether the files were there, in their size.
func (l *redoLog) create(root *os.Root, own owner) (all bool, err error) {
	if err := makeDir(root, path.Join(dataName, redo.Dir), own); err != nil {
		return false, err
	}
	all = true
	for i, f := range l.layout {
		there, err := l.createOne(root, own, f, l.headers[i])
		if err != nil {
			return false, fmt.Errorf("make the redo log: %w", noSpace(err))
		}
		all = all && there
	}
	return all, nil
}

func (l *redoLog) createOne(root *os.Root, own owner, f redo.File, h redo.FileHeader) (there bool, err error) {
	file, err := root.OpenFile(l.name(f), os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return false, err
	}
	defer file.Close()
	if err := own.file(file); err != nil {
		return false, err
	}
	there, err = resize(file, f.Size)
	if err != nil {
		return false, err
	}
	if _, err := file.WriteAt(h.Append(nil), 0); err != nil {
		return false, err
	}
	return there, file.Close()
}

func (l *redoLog) name(f redo.File) string { return path.Join(dataName, redo.Dir, redo.Name(f.ID)) }

// open returns the log as a file of blocks.
func (l *redoLog) open(root *os.Root) (*redoFile, error) {
	r := &redoFile{log: l}
	for _, f := range l.layout {
		file, err := openRegular(root, l.name(f))
		if err != nil {
			r.Close()
			return nil, err
		}
		r.files = append(r.files, file)
	}
	return r, nil
}

// redoFile takes blocks by their offset in the backup's redo file.
type redoFile struct {
	log   *redoLog
	files []*os.File
}

// WriteAt writes whole blocks. Those of a server that made no checksums get them, so that
// recovery notices damage.
func (r *redoFile) WriteAt(p []byte, off int64) (int, error) {
	if off%redo.BlockSize != 0 || len(p)%redo.BlockSize != 0 || off+int64(len(p)) > r.log.size {
		return 0, code.New(code.Integrity, "write redo: %d bytes at %d are not blocks of the log", len(p), off)
	}
	for b := p; len(b) > 0; b = b[redo.BlockSize:] {
		redo.Seal(b[:redo.BlockSize])
	}
	done := 0
	for i, f := range r.log.layout {
		begin := int64(f.Start - r.log.layout[0].Start)
		length := f.Size - redo.HeaderSize
		at := off + int64(done) - begin
		if at < 0 || at >= length || done == len(p) {
			continue
		}
		part := p[done:min(int64(len(p)), int64(done)+length-at)]
		n, err := r.files[i].WriteAt(part, redo.HeaderSize+at)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// Close closes the files.
func (r *redoFile) Close() error {
	var first error
	for _, f := range r.files {
		if err := f.Close(); first == nil {
			first = err
		}
	}
	return first
}
