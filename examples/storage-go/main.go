// Command storage-go is a storage plugin in Go: objects are files below a directory.
//
// It is the smallest one that keeps every promise of plug.Storage; see plugins/fs for one
// that is also fast and tidy. Build it, and name the executable in the configuration:
//
//	[storage]
//	plugin = "/usr/local/lib/remora/storage-go"
//	[storage.config]
//	dir = "/var/backups/mysql"
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/plugins/sdk"
)

func main() {
	sdk.ServeStorage(func(config json.RawMessage) (plug.Storage, error) {
		var d directory
		if err := sdk.Decode(config, &d); err != nil {
			return nil, err
		}
		if !filepath.IsAbs(d.Dir) {
			return nil, fmt.Errorf("dir %q is not absolute: %w", d.Dir, plug.ErrInvalid)
		}
		return d, os.MkdirAll(filepath.Join(d.Dir, "tmp+"), 0o700)
	})
}

type directory struct {
	Dir string `json:"dir"`
}

// path needs no care for hostile names: the sdk refuses them.
func (d directory) path(name string) string { return filepath.Join(d.Dir, name) }

func (d directory) Put(_ context.Context, name string, r io.Reader) (plug.Object, error) {
	f, err := os.CreateTemp(d.path("tmp+"), "") // no object's name has a '+'
	if err != nil {
		return plug.Object{}, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	size, err := io.Copy(f, r)
	if err != nil {
		return plug.Object{}, err // the reader's, too: then nothing may appear
	}
	if err := errors.Join(f.Sync(), os.MkdirAll(filepath.Dir(d.path(name)), 0o700)); err != nil {
		return plug.Object{}, err
	}
	if err := os.Rename(f.Name(), d.path(name)); err != nil {
		return plug.Object{}, err
	}
	return plug.Object{Name: name, Size: size}, syncDirs(d.Dir, filepath.Dir(d.path(name)))
}

// syncDirs makes new names durable, from the bottom up to the top.
func syncDirs(top, dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil || dir == top {
		return err
	}
	return syncDirs(top, filepath.Dir(dir))
}

func (d directory) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	o, err := d.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	if length < 0 {
		length = o.Size - offset
	}
	if offset < 0 || offset > o.Size || length > o.Size-offset {
		return nil, fmt.Errorf("%d bytes at %d of %d: %w", length, offset, o.Size, plug.ErrInvalid)
	}
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, offset, length), f}, nil
}

func (d directory) Stat(_ context.Context, name string) (plug.Object, error) {
	info, err := os.Stat(d.path(name))
	if err != nil || !info.Mode().IsRegular() {
		return plug.Object{}, fmt.Errorf("stat %s: %w", name, plug.ErrNotExist)
	}
	return plug.Object{Name: name, Size: info.Size()}, nil
}

func (d directory) Delete(ctx context.Context, name string) error {
	if _, err := d.Stat(ctx, name); err != nil {
		return nil // nothing to delete
	}
	return os.Remove(d.path(name))
}

func (d directory) List(_ context.Context, prefix string) iter.Seq2[plug.Object, error] {
	var all []plug.Object
	err := filepath.WalkDir(d.Dir, func(path string, e fs.DirEntry, err error) error {
		name := strings.TrimPrefix(path, d.Dir+"/")
		if err != nil || e.IsDir() || !plug.ValidName(name) || !strings.HasPrefix(name, prefix) {
			return err
		}
		if info, err := e.Info(); err == nil { // else it was deleted just now
			all = append(all, plug.Object{Name: name, Size: info.Size()})
		}
		return nil
	})
	slices.SortFunc(all, func(a, b plug.Object) int { return strings.Compare(a.Name, b.Name) })
	return func(yield func(plug.Object, error) bool) {
		for _, o := range all {
			if !yield(o, nil) {
				return
			}
		}
		if err != nil {
			yield(plug.Object{}, err)
		}
	}
}
