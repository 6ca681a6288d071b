package restore

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

type unixStat = syscall.Stat_t

// owner is to whom restored files belong. The zero value leaves them to who we are.
type owner struct {
	uid, gid int
	set      bool
}

// ownerFor returns the owner of the target directory, or of the parent of one that does
// not exist yet. Only root can give files away.
func ownerFor(p place) (owner, error) {
	if os.Geteuid() != 0 {
		return owner{}, nil
	}
	path := p.path
	if !p.exists {
		path = filepath.Dir(path)
	}
	info, err := os.Stat(path)
	if err != nil {
		return owner{}, fmt.Errorf("find the owner of the target: %w", err)
	}
	st, ok := info.Sys().(*unixStat)
	if !ok {
		return owner{}, fmt.Errorf("find the owner of the target: %s has none", path)
	}
	return owner{uid: int(st.Uid), gid: int(st.Gid), set: true}, nil
}

// root reports whether the files will belong to root, as whom no server should run.
func (o owner) root() bool { return o.set && o.uid == 0 }

func (o owner) path(name string) error {
	if !o.set {
		return nil
	}
	return os.Lchown(name, o.uid, o.gid)
}

func (o owner) in(root *os.Root, name string) error {
	if !o.set {
		return nil
	}
	return root.Lchown(name, o.uid, o.gid)
}

func (o owner) file(f *os.File) error {
	if !o.set {
		return nil
	}
	return f.Chown(o.uid, o.gid)
}

// tree gives away everything below dir, as what a server made that ran as root.
func (o owner) tree(root *os.Root, dir string) error {
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
