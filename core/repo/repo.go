package repo

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
)

const (
	configName = "remora.json"
	backupsDir = "backups/"
)

func dirName(id string) string          { return backupsDir + id + "/" }
func manifestName(id string) string     { return dirName(id) + "manifest.json" }
func filesName(id string) string        { return dirName(id) + "files" }
func indexName(id string, n int) string { return fmt.Sprintf("%sindex-%06d", dirName(id), n) }
func packName(id string, number uint32) string {
	return fmt.Sprintf("%spack-%06d", dirName(id), number)
}

// Repo is the repository on one storage. Its methods may be called concurrently, but for
// NewBackup.
type Repo struct {
	storage plug.Storage
	config  *config // nil: the storage has none, so there are no backups
	next    string  // what NextID gave last
}

// config is remora.json.
type config struct {
	Format      int         `json:"format"`
	Repository  string      `json:"repository"` // random, hex
	Created     time.Time   `json:"created"`
	Compression Compression `json:"compression"` // of backups that do not say otherwise
	Digest      string      `json:"digest"`
}

// Open returns the repository on storage, which may be empty: the first backup creates it.
func Open(ctx context.Context, storage plug.Storage) (*Repo, error) {
	r := &Repo{storage: storage}
	raw, err := r.get(ctx, configName)
	if errors.Is(err, plug.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	var c config
	if err := decodeSealed(configName, raw, &c); err != nil {
		return nil, err
	}
	if !c.Compression.valid() || c.Repository == "" {
		return nil, damaged(configName, "it has impossible values")
	}
	r.config = &c
	return r, nil
}

// Exists reports whether a backup was ever begun on the storage.
func (r *Repo) Exists() bool { return r.config != nil }

// create puts remora.json if there is none. Another host may have put it since Open; if it
// still does so at the same moment, see Seal.
func (r *Repo) create(ctx context.Context, newest string, compression Compression) error {
	if r.config != nil {
		return nil
	}
	now, err := Open(ctx, r.storage)
	if err != nil {
		return err
	}
	if now.config != nil {
		r.config = now.config
		return nil
	}
	if newest != "" {
		return r.headless(newest)
	}
	if compression == "" {
		compression = Zstd
	}
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		return fmt.Errorf("draw repository id: %w", err)
	}
	c := config{Format: Format, Repository: hex.EncodeToString(id[:]), Created: utc(time.Now()), Compression: compression}
	raw, err := encodeSealed(&c)
	if err != nil {
		return fmt.Errorf("encode %s: %w", configName, err)
	}
	if err := r.put(ctx, configName, raw); err != nil {
		return err
	}
	r.config = &c
	return nil
}

func (r *Repo) headless(id string) error {
	return code.New(code.Integrity, "%s is missing, but there is backup %s", configName, id)
}

// ids returns the id of every directory of a backup, complete or not, with the size of
// all its objects and whether there is a manifest; ordered by id.
func (r *Repo) ids(ctx context.Context) ([]found, error) {
	var all []found
	for obj, err := range r.storage.List(ctx, backupsDir) {
		if err != nil {
			return nil, failed(ctx, "list", backupsDir, err)
		}
		id, rest, _ := strings.Cut(strings.TrimPrefix(obj.Name, backupsDir), "/")
		unreadable := strings.HasSuffix(obj.Name, "/")
		if unreadable && id == "" {
			return nil, failed(ctx, "list", backupsDir, plug.ErrPermission)
		}
		if !ValidID(id) {
			continue
		}
		if len(all) == 0 || all[len(all)-1].id != id {
			all = append(all, found{id: id})
		}
		last := &all[len(all)-1]
		last.size += obj.Size
		last.manifest = last.manifest || unreadable || rest == "manifest.json"
	}
	return all, nil
}

type found struct {
	id       string
	size     int64
	manifest bool // there is one, or the storage does not let us see whether
}

// newest returns the greatest id in the storage, complete or not, or "".
func (r *Repo) newest(ctx context.Context) (string, error) {
	all, err := r.ids(ctx)
	if err != nil || len(all) == 0 {
		return "", err
	}
	return all[len(all)-1].id, nil
}

// NextID returns an id for a backup begun at now that comes after all in the storage. A
// clock that went back is an error that names both ids.
func (r *Repo) NextID(ctx context.Context, now time.Time, random io.Reader) (string, error) {
	id, err := NewID(now, random)
	if err != nil {
		return "", err
	}
	newest, err := r.newest(ctx)
	if err == nil && newest != "" {
		id, err = after(id, newest)
	}
	r.next = id
	return id, err
}

// Summary is a backup in a list. Err is not nil if its manifest cannot be used; then
// Manifest is empty.
type Summary struct {
	ID       string
	Size     int64 // bytes of its own objects
	Manifest Manifest
	Err      error
}

// List returns all backups, oldest first. One whose manifest is damaged, or must not be
// read, is in the list; leftovers without a manifest are not backups.
func (r *Repo) List(ctx context.Context) ([]Summary, error) {
	all, err := r.ids(ctx)
	if err != nil {
		return nil, err
	}
	var list []Summary
	for _, f := range all {
		if !f.manifest {
			continue
		}
		s := Summary{ID: f.id, Size: f.size}
		s.Manifest, s.Err = r.manifest(ctx, f.id)
		if c := code.Of(s.Err); s.Err != nil && c != code.Integrity && c != code.Version && !errors.Is(s.Err, plug.ErrPermission) {
			return nil, s.Err
		}
		list = append(list, s)
	}
	return list, nil
}

// Manifest returns the manifest of a backup; id may be Latest. No such backup is
// code.Usage, a damaged manifest code.Integrity.
func (r *Repo) Manifest(ctx context.Context, id string) (Manifest, error) {
	if id != Latest {
		if !ValidID(id) {
			return Manifest{}, code.Hint(code.Usage, listHint, "find backup %.40q: not an id", id)
		}
		return r.manifest(ctx, id)
	}
	return r.latest(ctx)
}

// latest returns the manifest of the backup whose data are the newest. One that is damaged and
// was taken later could be it, and is an error.
func (r *Repo) latest(ctx context.Context) (Manifest, error) {
	all, err := r.List(ctx)
	if err != nil {
		return Manifest{}, err
	}
	var newest Manifest
	for _, s := range slices.Backward(all) {
		if s.Err != nil && newest.ID == "" {
			return Manifest{}, s.Err
		}
		if s.Err == nil && (newest.ID == "" || s.Manifest.DataOf().After(newest.DataOf())) {
			newest = s.Manifest
		}
	}
	if newest.ID == "" {
		return Manifest{}, code.Hint(code.Usage, "is the storage of the configuration the right one, and mounted?", "find the latest backup: there is none")
	}
	return newest, nil
}

const listHint = "remora list shows the backups there are"

func (r *Repo) manifest(ctx context.Context, id string) (Manifest, error) {
	name := manifestName(id)
	raw, err := r.get(ctx, name)
	if errors.Is(err, plug.ErrNotExist) {
		return Manifest{}, code.Hint(code.Usage, listHint, "find backup %s: there is none with that id", id)
	}
	if err != nil {
		return Manifest{}, err
	}
	if r.config == nil {
		return Manifest{}, r.headless(id)
	}
	var m Manifest
	if err := decodeSealed(name, raw, &m); err != nil {
		return Manifest{}, err
	}
	if err := m.check(id, r.config.Repository); err != nil {
		return Manifest{}, damaged(name, "%w", err)
	}
	return m, nil
}

// put stores a small object.
func (r *Repo) put(ctx context.Context, name string, b []byte) error {
	obj, err := r.storage.Put(ctx, name, bytes.NewReader(b))
	if err != nil {
		return failed(ctx, "put", name, err)
	}
	if obj.Size != int64(len(b)) {
		return code.New(code.Storage, "put %s: the storage took %d bytes of %d", name, obj.Size, len(b))
	}
	return nil
}

// get returns a small object. The error is ErrNotExist if there is none.
func (r *Repo) get(ctx context.Context, name string) ([]byte, error) {
	body, err := r.storage.Get(ctx, name, 0, -1)
	if err != nil {
		return nil, failed(ctx, "get", name, err)
	}
	defer body.Close()
	b, err := readAll(body, maxSealed)
	if errors.Is(err, errTooLarge) {
		return nil, damaged(name, "%w", err)
	}
	return b, failed(ctx, "get", name, err)
}
