package repo

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// FileID names one copy of a file within one backup. The first is 1.
type FileID uint32

// Kind is what a file is to the server.
type Kind string

// The kinds of files.
const (
	KindTablespace Kind = "tablespace"
	KindRedo       Kind = "redo"
	KindBinlog     Kind = "binlog"
	KindOther      Kind = "other" // files of other engines, keys, anything else
	KindDir        Kind = "dir"   // a directory that would be missing, like that of an empty schema
)

// File is a copy of a file that is part of the backup.
type File struct {
	ID       FileID `json:"id"`
	Kind     Kind   `json:"kind"`
	Path     string `json:"path"` // final, relative to the data directory, '/'-separated
	Size     int64  `json:"size"` // bytes
	SpaceID  uint32 `json:"space_id,omitempty"`
	PageSize uint32 `json:"page_size,omitempty"` // bytes of a page as it lies in the file
	Flags    uint32 `json:"flags,omitempty"`     // of the tablespace, as in its first page
	Sparse   bool   `json:"sparse,omitempty"`    // has holes at the source

	// Attrs are for the engine's use, at most 4 KiB; not looked at here.
	Attrs map[string]string `json:"attrs,omitempty"`
}

// AttrEncryption is the attribute of an encrypted redo log that has the encryption information
// of its header, hexadecimal: the key of its blocks, sealed with a master key. Neither we nor
// the backup have that one; the server that recovers must find it in its keyring.
const AttrEncryption = "encryption"

const (
	maxFileSize = 1 << 60
	maxPath     = 4095 // bytes; Linux PATH_MAX without the NUL
	maxSegment  = 255  // bytes; Linux NAME_MAX
	maxAttrs    = 4 << 10
	maxLine     = 128 << 10 // bytes in the table of files; JSON may take 6 for one
)

// check tells what no honest file can have. Names are hostile input.
func (f *File) check() error {
	switch f.Kind {
	case KindTablespace, KindRedo, KindBinlog, KindOther:
	case KindDir:
		if f.Size != 0 {
			return fmt.Errorf("directory %.100q has %d bytes", f.Path, f.Size)
		}
	default:
		return fmt.Errorf("unknown kind %.40q of file %.100q", f.Kind, f.Path)
	}
	if f.ID == 0 || f.Size < 0 || f.Size > maxFileSize {
		return fmt.Errorf("file %.100q has id %d and %d bytes", f.Path, f.ID, f.Size)
	}
	size := 0
	for k, v := range f.Attrs {
		size += len(k) + len(v)
	}
	if size > maxAttrs {
		return fmt.Errorf("file %.100q has %d bytes of attributes", f.Path, size)
	}
	return checkPath(f.Path)
}

func checkPath(path string) error {
	if !fs.ValidPath(path) || path == "." || len(path) > maxPath || strings.ContainsAny(path, "\x00\\") {
		return fmt.Errorf("file name %.100q is not allowed", path)
	}
	for seg := range strings.SplitSeq(path, "/") {
		if len(seg) > maxSegment {
			return fmt.Errorf("file name %.100q is too long", path)
		}
	}
	return nil
}

// checkFiles proves that the files, sorted by id, can lie in one directory tree: no name
// twice (with fold not even in other letter case), no file where a directory must be.
func checkFiles(files []File, fold bool) error {
	key := func(path string) string {
		if fold {
			return strings.ToLower(path)
		}
		return path
	}
	order := make([]int32, len(files))
	for i := range files {
		if i > 0 && files[i-1].ID >= files[i].ID {
			return fmt.Errorf("file id %d is there twice or out of order", files[i].ID)
		}
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return strings.Compare(key(files[a].Path), key(files[b].Path)) })
	for i, n := range order {
		path := key(files[n].Path)
		if i > 0 && key(files[order[i-1]].Path) == path {
			return fmt.Errorf("file name %.100q is there twice", files[n].Path)
		}
		for at := strings.LastIndexByte(path, '/'); at > 0; at = strings.LastIndexByte(path[:at], '/') {
			parent, found := slices.BinarySearchFunc(order, path[:at], func(n int32, p string) int {
				return strings.Compare(key(files[n].Path), p)
			})
			if found && files[order[parent]].Kind != KindDir {
				return fmt.Errorf("file name %.100q needs a directory where there is a file", files[n].Path)
			}
		}
	}
	return nil
}

// encodeFiles writes the table of files, sorted by id.
func encodeFiles(w io.Writer, files []File) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for i := range files {
		if err := e.Encode(&files[i]); err != nil {
			return err
		}
	}
	return nil
}

// decodeFiles reads a table of exactly count files and checks each for itself.
func decodeFiles(r io.Reader, count int64) ([]File, error) {
	kinds := map[Kind]Kind{KindTablespace: KindTablespace, KindRedo: KindRedo, KindBinlog: KindBinlog, KindOther: KindOther, KindDir: KindDir}
	var files []File
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxLine)
	for lines.Scan() {
		if int64(len(files)) == count {
			return nil, fmt.Errorf("it has more than %d files", count)
		}
		var f File
		d := json.NewDecoder(bytes.NewReader(lines.Bytes()))
		d.DisallowUnknownFields()
		if err := d.Decode(&f); err != nil {
			return nil, fmt.Errorf("line %d: %w", len(files)+1, err)
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("line %d: more than one value", len(files)+1)
		}
		if err := f.check(); err != nil {
			return nil, fmt.Errorf("line %d: %w", len(files)+1, err)
		}
		f.Kind = kinds[f.Kind] // one string for all
		files = append(files, f)
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if int64(len(files)) != count {
		return nil, fmt.Errorf("it has %d files, not %d", len(files), count)
	}
	return files, nil
}

// findFile returns the place of the file with that id in files, sorted by id.
func findFile(files []File, id FileID) (int, bool) {
	return slices.BinarySearchFunc(files, id, func(f File, id FileID) int { return cmp.Compare(f.ID, id) })
}
