package staging

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Owner is to whom restored files belong. The zero value leaves them to who we are.
type Owner struct {
	uid, gid int
	set      bool
}

// OwnerFor returns the owner of the target directory, or of the parent of one that does
// not exist yet. Only root can give files away.
func OwnerFor(p Target) (Owner, error) {
	if os.Geteuid() != 0 {
		return Owner{}, nil
	}
	path := p.Path
	if !p.Exists {
		path = filepath.Dir(path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return Owner{}, fmt.Errorf("find the owner of the target: %w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return Owner{}, fmt.Errorf("find the owner of the target: %s has none", path)
	}
	return Owner{uid: int(st.Uid), gid: int(st.Gid), set: true}, nil
}

// Root reports whether the files will belong to root, as whom no server should run.
func (o Owner) Root() bool { return o.set && o.uid == 0 }

// Path gives what lies at an absolute path.
func (o Owner) Path(name string) error {
	if !o.set {
		return nil
	}
	return os.Lchown(name, o.uid, o.gid)
}

// In gives a file below root.
func (o Owner) In(root *os.Root, name string) error {
	if !o.set {
		return nil
	}
	return root.Lchown(name, o.uid, o.gid)
}

// File gives an open file.
func (o Owner) File(f *os.File) error {
	if !o.set {
		return nil
	}
	return f.Chown(o.uid, o.gid)
}

// Tree gives away everything below dir, as what a server made that ran as root.
func (o Owner) Tree(root *os.Root, dir string) error {
	if !o.set {
		return nil
	}
	return fs.WalkDir(root.FS(), dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return root.Lchown(name, o.uid, o.gid)
	})
}
