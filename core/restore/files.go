package restore

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/redomake"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/staging"
)

// Modes that a server gives to its own files.
const (
	dirMode  = 0o750
	fileMode = 0o640
)

// piece is a file of the backup and where it is written, relative to the staging
// directory.
type piece struct {
	*repo.File
	at string
}

// tree is the files of a backup as they will lie in the staging directory.
type tree struct {
	files  map[repo.FileID]piece // without directories
	dirs   []string              // each after its parent
	redo   *repo.File
	log    *redomake.Log
	binlog string // where the binary log is put; "" if there is none
}

// planTree sorts the files of a backup. It touches nothing. Names are safe to be created
// below one directory already; see repo.OpenBackup.
func planTree(m *repo.Manifest, files []repo.File) (*tree, error) {
	t := &tree{files: make(map[repo.FileID]piece, len(files)), dirs: []string{dataName}}
	made := map[string]bool{".": true, dataName: true}
	complete := false
	for i := range files {
		f := &files[i]
		at := path.Join(dataName, f.Path)
		switch {
		case strings.HasPrefix(f.Path, staging.Name):
			return nil, code.New(code.Integrity, "check the files of the backup: the name %q is not allowed", f.Path)
		case f.Kind == repo.KindRedo && t.redo != nil:
			return nil, code.New(code.Integrity, "check the files of the backup: %s and %s are both the redo log", t.redo.Path, f.Path)
		case f.Kind == repo.KindRedo:
			t.redo, at = f, redoDir
		case f.Kind == repo.KindBinlog:
			if err := t.addBinlog(m, f); err != nil {
				return nil, err
			}
			at = t.binlog
		case left(f.Path):
			continue
		case f.Kind == repo.KindDir:
			t.addDir(at, made)
			continue
		}
		complete = complete || at == path.Join(dataName, dictionary)
		t.addDir(path.Dir(at), made)
		t.files[f.ID] = piece{f, at}
	}
	switch {
	case t.redo == nil:
		return nil, code.New(code.Integrity, "check the files of the backup: it has no redo log")
	case !complete:
		return nil, code.New(code.Integrity, "check the files of the backup: it has no %s", dictionary)
	case t.binlog == "" && m.Binlog.File != "":
		return nil, code.New(code.Integrity, "check the files of the backup: it has no %s", m.Binlog.File)
	}
	return t, nil
}

// addBinlog puts the binary log beside the data under a name of ours: only recovery needs
// it, see Recover.
func (t *tree) addBinlog(m *repo.Manifest, f *repo.File) error {
	number := path.Ext(f.Path)
	switch {
	case t.binlog != "":
		return code.New(code.Integrity, "check the files of the backup: %s is a second binary log", f.Path)
	case path.Base(f.Path) != m.Binlog.File || uint64(f.Size) != m.Binlog.Position:
		return code.New(code.Integrity, "check the files of the backup: %s of %d bytes is not the binary log %s up to %d",
			f.Path, f.Size, m.Binlog.File, m.Binlog.Position)
	case !binlogNumber.MatchString(number):
		return code.New(code.Integrity, "check the files of the backup: %s is no name of a binary log", f.Path)
	}
	t.binlog = path.Join(binlogDir, binlogBase+number)
	return nil
}

// The binary log while a server recovers.
const (
	binlogDir  = "binlog"
	binlogBase = "restored"
)

var binlogNumber = regexp.MustCompile(`^\.[0-9]{6,10}$`)

// has reports whether a file of that name, relative to the data directory, is written.
func (t *tree) has(name string) bool {
	at := path.Join(dataName, name)
	for _, f := range t.files {
		if f.at == at {
			return true
		}
	}
	return false
}

// bytes is what will be written.
func (t *tree) bytes() (total int64) {
	for _, f := range t.files {
		total += f.Size
	}
	return total
}

// space is what is needed on disk. Files with holes take less than their size, nobody
// knows how much less: half of it is asked for.
func (t *tree) space() (total int64) {
	for _, f := range t.files {
		if f.Sparse {
			total += f.Size / 2
		} else {
			total += f.Size
		}
	}
	return total
}

func (t *tree) addDir(dir string, made map[string]bool) {
	if made[dir] {
		return
	}
	t.addDir(path.Dir(dir), made)
	made[dir] = true
	t.dirs = append(t.dirs, dir)
}

// left reports whether a file is left out if a backup should hold it: the identity of
// the source, a redo log that is not the backup's, and what the server makes anew. With
// old doublewrite files recovery would put old pages in place of good ones.
func left(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	switch first {
	case "auto.cnf", "ibtmp1", redo.Dir, "#innodb_temp":
		return true
	}
	return path.Ext(first) == ".dblwr" || path.Ext(first) == ".bdblwr"
}

// create makes all directories and files, empty but of their final size. Those that an
// earlier run made are kept; all reports whether every file was there, in that size.
func (t *tree) create(root *os.Root, own owner) (all bool, err error) {
	for _, dir := range t.dirs {
		if err := makeDir(root, dir, own); err != nil {
			return false, err
		}
	}
	all, err = createRedo(root, t.log, own)
	if err != nil {
		return false, err
	}
	for _, f := range t.files {
		if f.Kind == repo.KindRedo {
			continue
		}
		there, err := createFile(root, f, own)
		if err != nil {
			return false, fmt.Errorf("make %s: %w", f.Path, noSpace(err))
		}
		all = all && there
	}
	return all, nil
}

func makeDir(root *os.Root, name string, own owner) error {
	err := root.Mkdir(name, dirMode)
	if err == nil {
		err = own.in(root, name)
	} else if errors.Is(err, fs.ErrExist) {
		var info fs.FileInfo
		if info, err = root.Lstat(name); err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is not a directory", name)
		}
	}
	if err != nil {
		return fmt.Errorf("make directory %s: %w", name, noSpace(err))
	}
	return nil
}

// createFile makes a file, or reports that it is there in its size.
func createFile(root *os.Root, f piece, own owner) (there bool, err error) {
	file, err := root.OpenFile(f.at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if errors.Is(err, fs.ErrExist) {
		there = true
		file, err = openRegular(root, f.at)
	}
	if err != nil {
		return false, err
	}
	defer file.Close()
	if err := own.file(file); err != nil {
		return false, err
	}
	same, err := resize(file, f.Size)
	if err != nil {
		return false, err
	}
	return there && same, file.Close()
}

// resize gives a file its size, and reports whether it had it.
func resize(f *os.File, size int64) (same bool, err error) {
	info, err := f.Stat()
	if err != nil || info.Size() == size {
		return err == nil, err
	}
	return false, f.Truncate(size)
}

// openRegular opens a file of ours for writing. What is not a plain file with one name
// was put there by somebody else.
func openRegular(root *os.Root, name string) (*os.File, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, err
	}
	if st, ok := info.Sys().(*unixStat); !info.Mode().IsRegular() || !ok || st.Nlink != 1 {
		return nil, code.New(code.Target, "open %s: it is not a plain file", name)
	}
	return root.OpenFile(name, os.O_WRONLY|unix.O_NOFOLLOW, 0)
}

// writer is a file being filled.
type writer interface {
	io.WriterAt
	io.Closer
}

// open returns the writer for a file of the tree.
func (t *tree) open(root *os.Root, f piece) (writer, error) {
	if f.Kind == repo.KindRedo {
		return t.log.Open(root, redoDir)
	}
	file, err := openRegular(root, f.at)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f.Path, err)
	}
	if f.Sparse {
		return holes{file}, nil
	}
	return file, nil
}

// holes writes a file that has holes at the source, as those compressed by pages have:
// blocks of zeros become holes again.
type holes struct{ *os.File }

// holeSize is the block size of common file systems, bytes.
const holeSize = 4 << 10

// WriteAt writes p but for its blocks of zeros. The range may hold remains of a run that
// was killed, so holes are made, not only left.
func (h holes) WriteAt(p []byte, off int64) (int, error) {
	for done := 0; done < len(p); {
		n, zero := alike(p[done:])
		var err error
		if zero {
			err = h.punch(p[done:done+n], off+int64(done))
		} else {
			_, err = h.File.WriteAt(p[done:done+n], off+int64(done))
		}
		if err != nil {
			return done, err
		}
		done += n
	}
	return len(p), nil
}

func (h holes) punch(zeros []byte, off int64) error {
	err := unix.Fallocate(int(h.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, int64(len(zeros)))
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		_, err = h.File.WriteAt(zeros, off)
	}
	return err
}

// alike returns how many bytes at the beginning of p are alike: whole blocks of zeros, or
// blocks that are not.
func alike(p []byte) (n int, zero bool) {
	for n < len(p) {
		block := p[n:min(n+holeSize, len(p))]
		if z := isZero(block); n == 0 {
			zero = z
		} else if z != zero {
			return n, zero
		}
		n += len(block)
	}
	return n, zero
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
