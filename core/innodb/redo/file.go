package redo

import (
	"fmt"
	"strconv"
	"strings"
)

// FileHeader is everything in a redo file before its first block.
type FileHeader struct {
	Header
	// Checkpoints are the two checkpoint blocks; 0 stands for one that is empty or damaged.
	Checkpoints [2]LSN
	// Encryption is the key of encrypted blocks. Only that of the file with the newest checkpoint counts.
	Encryption Encryption
}

// ParseFileHeader reads the first [HeaderSize] bytes of a redo file. It fails if the main header is not sound.
func ParseFileHeader(b []byte) (FileHeader, error) {
	if len(b) < HeaderSize {
		return FileHeader{}, fmt.Errorf("parse redo file header: %d bytes, want %d: %w", len(b), HeaderSize, ErrCorrupt)
	}
	h, err := ParseHeader(b)
	f := FileHeader{Header: h}
	if err != nil {
		return f, err
	}
	f.Checkpoints[0], _ = ParseCheckpoint(b[1*BlockSize:])
	f.Checkpoints[1], _ = ParseCheckpoint(b[3*BlockSize:])
	f.Encryption = parseEncryption(b[2*BlockSize : 3*BlockSize])
	return f, nil
}

// Append appends the [HeaderSize] bytes of the header, checksums included.
func (f FileHeader) Append(b []byte) []byte {
	b = f.Header.Append(b)
	b = AppendCheckpoint(b, f.Checkpoints[0])
	b = f.Encryption.append(b)
	return AppendCheckpoint(b, f.Checkpoints[1])
}

// Checkpoint returns the newer checkpoint of this file, 0 if it holds none.
func (f FileHeader) Checkpoint() LSN { return max(f.Checkpoints[0], f.Checkpoints[1]) }

// Dir is the directory of redo files, below innodb_log_group_home_dir or the data directory.
const Dir = "#innodb_redo"

const (
	namePrefix  = "#ib_redo"
	spareSuffix = "_tmp"
)

// Name returns the name of the redo file with this id.
func Name(id uint64) string { return namePrefix + strconv.FormatUint(id, 10) }

// ParseName takes the name of a redo file apart. A spare file ("_tmp") holds nothing of meaning. ok is false if it is no redo file.
func ParseName(name string) (id uint64, spare, ok bool) {
	digits, ok := strings.CutPrefix(name, namePrefix)
	if !ok {
		return 0, false, false
	}
	digits, spare = strings.CutSuffix(digits, spareSuffix)
	id, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || strconv.FormatUint(id, 10) != digits {
		return 0, false, false
	}
	return id, spare, true
}
