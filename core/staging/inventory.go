package staging

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

const inventoryName = "files"

// item is how a file of data/ looked when all was whole and synced. A later run takes it for
// what it was only if it still looks so.
type item struct {
	Path    string `json:"path"` // relative to data/
	Size    int64  `json:"size"`
	Inode   uint64 `json:"inode"`
	Changed int64  `json:"mtime"` // nanoseconds since 1970
	Touched int64  `json:"ctime"` // the same; a rename changes it
}

func itemOf(name string, info fs.FileInfo) (item, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return item{}, false
	}
	return item{Path: name, Size: info.Size(), Inode: st.Ino, Changed: st.Mtim.Nano(), Touched: st.Ctim.Nano()}, true
}

// Complete remembers that data/ is what the target is to hold, and how each file looks.
func (s *Dir) Complete() error {
	var list bytes.Buffer
	e := json.NewEncoder(&list)
	err := fs.WalkDir(s.dir.FS(), Data, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		it, ok := itemOf(strings.TrimPrefix(name, Data+"/"), info)
		if !ok {
			return fmt.Errorf("%s has no inode", name)
		}
		return e.Encode(it)
	})
	if err != nil {
		return fmt.Errorf("list the files that are whole: %w", err)
	}
	if err := s.WriteFile(inventoryName, list.Bytes()); err != nil {
		return fmt.Errorf("list the files that are whole: %w", err)
	}
	return s.Enter(Prepared)
}

// Differs returns the first file that does not look as it did when all was whole; "" if none
// does. In a target from which a server could start already nothing is looked at.
func (s *Dir) Differs() (string, error) {
	if _, err := s.target.Lstat(Dictionary); err == nil && s.state.Stage == Publishing {
		return "", nil
	}
	b, err := s.dir.ReadFile(inventoryName)
	if err != nil {
		return inventoryName, nil // an earlier version wrote none: nothing is known of them
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		var want item
		if err := json.Unmarshal(lines.Bytes(), &want); err != nil {
			return inventoryName, nil
		}
		if !s.looksAs(want) {
			return want.Path, nil
		}
	}
	return "", lines.Err()
}

func (s *Dir) looksAs(want item) bool {
	info, err := s.dir.Lstat(path.Join(Data, want.Path))
	if err != nil && s.state.Stage == Publishing { // it may have moved
		if info, err = s.target.Lstat(want.Path); err != nil && want.Path == Dictionary {
			info, err = s.dir.Lstat(path.Join(Data, hidden))
		}
	}
	if err != nil {
		return false
	}
	got, ok := itemOf(want.Path, info)
	if s.state.Stage == Publishing {
		got.Touched = want.Touched
	}
	return ok && info.Mode()&os.ModeType == 0 && got == want
}
