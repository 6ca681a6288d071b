package fs

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/remora-backup/remora/core/plug"
)

// List is plug.Storage's.
func (s *Storage) List(ctx context.Context, prefix string) iter.Seq2[plug.Object, error] {
	return func(yield func(plug.Object, error) bool) {
		dir := "."
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			if dir = prefix[:i]; !plug.ValidName(dir) {
				return // no object's name begins so
			}
		}
		if err := s.ready(false); errors.Is(err, fs.ErrNotExist) {
			return
		} else if err != nil {
			yield(plug.Object{}, err)
			return
		}
		w := &walk{s: s, ctx: ctx, prefix: prefix, yield: yield}
		if err := w.dir(dir); err != nil && err != errStop {
			yield(plug.Object{}, s.explain(dir, err))
		}
	}
}

// errStop ends a walk whose caller has seen enough.
var errStop = errors.New("stop")

type walk struct {
	s      *Storage
	ctx    context.Context
	prefix string
	yield  func(plug.Object, error) bool
}

// dir yields what is in and below dir. Byte order of names is not the order of a
// directory: "a.b" comes before "a/b", so a directory sorts with its '/'.
func (w *walk) dir(dir string) error {
	entries, err := w.read(dir)
	if err != nil && dir != "." && errors.Is(err, fs.ErrPermission) {
		return w.give(plug.Object{Name: dir + "/"})
	}
	if err != nil {
		return unlessGone(err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(sortKey(a), sortKey(b)) })
	for _, e := range entries {
		if err := context.Cause(w.ctx); err != nil {
			return err
		}
		if err := w.entry(path.Join(dir, e.Name()), e); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) read(dir string) ([]fs.DirEntry, error) {
	d, err := w.s.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.ReadDir(-1)
}

func (w *walk) entry(name string, e fs.DirEntry) error {
	switch {
	case !plug.ValidName(name):
		return nil // a temporary file, or none of ours
	case e.IsDir():
		// A directory matters if names in it can have the prefix.
		if below := name + "/"; strings.HasPrefix(below, w.prefix) || strings.HasPrefix(w.prefix, below) {
			return w.dir(name)
		}
		return nil
	case !e.Type().IsRegular() || !strings.HasPrefix(name, w.prefix):
		return nil
	}
	info, err := w.s.root.Lstat(name)
	if err != nil {
		return unlessGone(err)
	}
	return w.give(plug.Object{Name: name, Size: info.Size()})
}

func (w *walk) give(o plug.Object) error {
	if !w.yield(o, nil) {
		return errStop
	}
	return nil
}

func sortKey(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	return err
}
