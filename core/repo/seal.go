package repo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
	"lukechampine.com/blake3"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/syncpoint"
)

const statParallel = 8

// Seal ends all packers, writes the table of files and the index, asks the storage
// whether it holds every object, and puts the manifest: then, and only then, the backup
// exists, and nothing can make Seal fail any more. It returns the manifest as stored.
// After an error call Abort.
func (b *Backup) Seal(ctx context.Context, m Manifest) (Manifest, error) {
	m, err := b.complete(ctx, m)
	if err != nil {
		return m, err
	}
	if err := b.putManifest(ctx, &m); err != nil {
		return m, err
	}
	b.sealed = true
	b.cancel(errSealed)
	_ = syncpoint.At(ctx, syncpoint.StoreDone) // what happens here cannot undo the backup
	return m, nil
}

// complete puts all but the manifest and fills it.
func (b *Backup) complete(ctx context.Context, m Manifest) (Manifest, error) {
	for _, p := range b.packers {
		if err := p.Flush(ctx); err != nil {
			return m, err
		}
	}
	if err := b.broken(); err != nil {
		return m, err
	}
	// Two hosts that both found no remora.json have both put one: the last counts.
	now, err := Open(ctx, b.repo.storage)
	if err != nil {
		return m, err
	}
	if now.config == nil {
		return m, b.repo.headless(b.id)
	}
	m.Format, m.ID, m.Repository = Format, b.id, now.config.Repository
	m.Compression, m.Bases, m.Digest = b.opt.Compression, nil, ""
	if m.Totals, err = b.totals(m.Server.LowerCaseTableNames != 0); err != nil {
		return m, err
	}
	if err := syncpoint.At(ctx, syncpoint.StoreFiles); err != nil {
		return m, err
	}
	if m.Files, err = b.putFiles(ctx); err != nil {
		return m, err
	}
	if m.Index, err = b.endIndex(ctx); err != nil {
		return m, err
	}
	if err := syncpoint.At(ctx, syncpoint.StoreCheck); err != nil {
		return m, err
	}
	m.Packs.Count, m.Packs.Size = int64(len(b.sizes)), m.Totals.Stored+m.Totals.Superseded
	return m, b.holds(ctx, m.Files.Size)
}

// totals checks the kept files against what was stored, and counts.
func (b *Backup) totals(fold bool) (Totals, error) {
	slices.SortFunc(b.kept, func(a, c File) int { return cmp.Compare(a.ID, c.ID) })
	if err := checkFiles(b.kept, fold); err != nil {
		return Totals{}, fmt.Errorf("seal backup %s: %w", b.id, err)
	}
	t := Totals{Files: int64(len(b.kept))}
	for _, f := range b.kept {
		c := b.copies[f.ID]
		if c.plain != f.Size {
			return t, fmt.Errorf("seal backup %s: %d bytes of %q were stored, it has %d", b.id, c.plain, f.Path, f.Size)
		}
		t.Plain += c.plain
		t.Stored += c.stored
	}
	for _, c := range b.copies {
		t.Superseded += c.stored
	}
	t.Superseded -= t.Stored
	return t, nil
}

// putFiles writes the table of files.
func (b *Backup) putFiles(ctx context.Context) (Part, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b.begun = append(b.begun, filesName(b.id))
	out := &streamWriter{stream: newStream(ctx, &b.puts, b.repo.storage, filesName(b.id), make(chan []byte, chunkQueue+2))}
	hash := blake3.New(32, nil)
	z, err := zstd.NewWriter(io.MultiWriter(out, hash), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return Part{}, fmt.Errorf("start compression: %w", err)
	}
	if err := encodeFiles(z, b.kept); err != nil {
		return Part{}, err
	}
	if err := z.Close(); err != nil {
		return Part{}, err
	}
	if err := out.Close(); err != nil {
		return Part{}, err
	}
	return Part{Count: int64(len(b.kept)), Size: out.sent, Digest: hexSum(hash)}, nil
}

func (b *Backup) endIndex(ctx context.Context) (Part, error) {
	if err := syncpoint.At(ctx, syncpoint.StoreIndex); err != nil {
		return Part{}, err
	}
	b.enter(appendTrailer(nil, b.groups, b.entries))
	if err := b.putSegment(ctx); err != nil {
		return Part{}, err
	}
	return Part{Count: int64(len(b.segments)), Size: b.bytes, Digest: hexSum(b.hash)}, nil
}

// holds asks the storage for every object of the backup.
func (b *Backup) holds(ctx context.Context, files int64) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(statParallel)
	stat := func(name string, size int64) {
		g.Go(func() error { return b.repo.has(gctx, name, size) })
	}
	for i, size := range b.sizes {
		stat(packName(b.id, uint32(i+1)), size)
	}
	for i, size := range b.segments {
		stat(indexName(b.id, i+1), size)
	}
	stat(filesName(b.id), files)
	if err := g.Wait(); err != nil {
		return err
	}
	count := 0
	for obj, err := range b.repo.storage.List(ctx, dirName(b.id)) {
		if err != nil {
			return failed(ctx, "list", dirName(b.id), err)
		}
		count++
		if count > len(b.sizes)+len(b.segments)+1 {
			return code.New(code.Storage, "seal backup %s: objects are there that are not its own, as %s", b.id, obj.Name)
		}
	}
	return nil
}

// putManifest puts the manifest and reads it back.
func (b *Backup) putManifest(ctx context.Context, m *Manifest) error {
	if err := syncpoint.At(ctx, syncpoint.StoreManifest); err != nil {
		return err
	}
	if m.Finished.IsZero() {
		m.Finished = time.Now()
	}
	m.Started, m.Finished, m.VPTime = utc(m.Started), utc(m.Finished), utc(m.VPTime)
	raw, err := encodeSealed(m)
	if err != nil {
		return fmt.Errorf("encode manifest of backup %s: %w", b.id, err)
	}
	name := manifestName(b.id)
	var stored Manifest
	if err := decodeSealed(name, raw, &stored); err != nil {
		return err
	}
	b.begun = append(b.begun, name)
	if err := b.repo.put(ctx, name, raw); err != nil {
		return err
	}
	if err := syncpoint.At(ctx, syncpoint.StoreManifestPut); err != nil {
		return err
	}
	back, err := b.repo.get(ctx, name)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, raw) {
		return damaged(name, "it was read back other than it was stored")
	}
	*m = stored
	return nil
}

// Abort ends a backup that was not sealed and deletes what it stored; after Seal it does
// nothing. It returns the names that may be left over, with the first reason. ctx bounds
// it and is not the interrupted one.
func (b *Backup) Abort(ctx context.Context) ([]string, error) {
	if b.sealed {
		return nil, nil
	}
	b.cancel(errors.New("the backup was aborted"))
	first := b.waitPuts(ctx)
	names, there, err := b.objects(ctx, first == nil)
	first = cmp.Or(first, err)
	// Without the manifest it is no backup, so that goes first and the rest stays if it cannot.
	first = cmp.Or(first, syncpoint.At(ctx, syncpoint.CleanupManifest))
	if manifest := manifestName(b.id); slices.Contains(names, manifest) {
		if err := b.repo.storage.Delete(ctx, manifest); err != nil {
			return there, cmp.Or(first, failed(ctx, "delete", manifest, err))
		}
	}
	first = cmp.Or(first, syncpoint.At(ctx, syncpoint.CleanupDelete))
	var left []string
	for _, name := range names {
		if err := b.repo.storage.Delete(ctx, name); err != nil {
			first = cmp.Or(first, failed(ctx, "delete", name, err))
			if _, is := slices.BinarySearch(there, name); is {
				left = append(left, name)
			}
		}
	}
	return left, first
}

// waitPuts returns when no put of a pack can make an object appear any more.
func (b *Backup) waitPuts(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.puts.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the puts of backup %s to end: %w", b.id, context.Cause(ctx))
	}
}

// objects returns the names of all whose put was begun or that the storage lists, and of
// those that may be there: what is not listed is not, if no put is under way any more.
func (b *Backup) objects(ctx context.Context, still bool) (names, there []string, err error) {
	for i := range b.packs.Load() {
		names = append(names, packName(b.id, i+1))
	}
	for i := range b.segments {
		names = append(names, indexName(b.id, i+1))
	}
	names = append(names, b.begun...)
	for obj, failure := range b.repo.storage.List(ctx, dirName(b.id)) {
		if failure != nil {
			err = failed(ctx, "list", dirName(b.id), failure)
			break
		}
		names, there = append(names, obj.Name), append(there, obj.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if !still || err != nil {
		there = names
	}
	return names, there, err
}

func utc(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
