package redolog

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/serverfile"
)

func readHeader(path string) (redo.FileHeader, error) {
	f, err := serverfile.Open(path)
	if err != nil {
		return redo.FileHeader{}, err
	}
	defer f.Close()
	return headerOf(f)
}

func headerOf(f *os.File) (redo.FileHeader, error) {
	var b [redo.HeaderSize]byte
	if _, err := f.ReadAt(b[:], 0); err != nil {
		return redo.FileHeader{}, err
	}
	return redo.ParseFileHeader(b[:])
}

// flagsOf returns those of the newest file, which hold for the whole log.
func flagsOf(dir string) (redo.Flags, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, fmt.Errorf("list redo files: %w", err)
	}
	newest, found := uint64(0), false
	for _, e := range entries {
		if id, spare, ok := redo.ParseName(e.Name()); ok && !spare && (!found || id > newest) {
			newest, found = id, true
		}
	}
	if !found {
		return 0, fmt.Errorf("no redo file in %s", dir)
	}
	h, err := readHeader(filepath.Join(dir, redo.Name(newest)))
	return h.Flags, err
}

// newestHeader returns the header with the newest checkpoint of a redo log.
func newestHeader(dir string) (best redo.FileHeader, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return best, err
	}
	for _, e := range entries {
		if _, spare, ok := redo.ParseName(e.Name()); !ok || spare {
			continue
		}
		h, err := readHeader(filepath.Join(dir, e.Name()))
		if err == nil && h.Checkpoint() > best.Checkpoint() {
			best = h
		}
	}
	return best, nil
}
