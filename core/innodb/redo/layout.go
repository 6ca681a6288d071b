package redo

import "fmt"

// Limits on the size of a redo file that every server takes, in bytes. Source: log0constants.h, LOG_FILE_MIN_SIZE and LOG_FILE_MAX_SIZE.
// The upper one is that of 8.0.30, which refuses to start with a larger file; later servers take 16 GiB, and any number of files.
const (
	MinFileSize = 64 << 10
	MaxFileSize = 4 << 30
)

// spareRoom is what a made log leaves free behind its end, so that recovery has room to write.
const spareRoom = 64 << 10

// File is one redo file to be made: its header, then the blocks from Start on, then zeros up to Size.
type File struct {
	ID    uint64
	Start LSN   // of its first block
	Size  int64 // bytes on disk, header included
}

// End returns the LSN at which the next file starts.
func (f File) End() LSN { return f.Start + LSN(f.Size-HeaderSize) }

// Layout returns the files of a redo log that a stock server recovers from: it begins with the block of the checkpoint, holds everything up to end
// with some room behind it, and starts with id 0. pageSize is innodb_page_size, maxFile the largest file wanted (0: as large as every server takes), both in
// bytes. Sizes are multiples of the page size, as a server insists.
func Layout(checkpoint, end LSN, pageSize int, maxFile int64) ([]File, error) {
	if !checkpoint.Valid() || !end.Valid() || end < checkpoint {
		return nil, fmt.Errorf("lay out redo files: LSN %d to %d is no range of data", checkpoint, end)
	}
	if pageSize < 4<<10 || pageSize > 64<<10 || pageSize&(pageSize-1) != 0 {
		return nil, fmt.Errorf("lay out redo files: page size %d is not supported", pageSize)
	}
	if maxFile == 0 {
		maxFile = MaxFileSize
	}
	page := int64(pageSize)
	maxFile -= maxFile % page
	if maxFile < MinFileSize || maxFile > MaxFileSize {
		return nil, fmt.Errorf("lay out redo files: %d bytes is no size for a file", maxFile)
	}
	var files []File
	need := end + spareRoom
	for start := checkpoint.BlockStart(); start < need; {
		rest := (int64(need-start) + HeaderSize + page - 1) / page * page
		f := File{ID: uint64(len(files)), Start: start, Size: max(MinFileSize, min(rest, maxFile))}
		files = append(files, f)
		start = f.End()
	}
	return files, nil
}

// Headers returns the file headers that belong to files made by Layout. creator should read "MySQL " and the server's version: other names change
// what recovery does. uuid may be any number.
func Headers(files []File, checkpoint LSN, uuid uint32, creator string) []FileHeader {
	hs := make([]FileHeader, len(files))
	for i, f := range files {
		hs[i].Header = Header{Format: FormatCurrent, UUID: uuid, Start: f.Start, Creator: creator, Flags: FileFull}
		if checkpoint >= f.Start && checkpoint < f.End() {
			hs[i].Checkpoints = [2]LSN{checkpoint, checkpoint}
		}
	}
	if len(hs) > 0 {
		hs[len(hs)-1].Flags = 0
	}
	return hs
}
