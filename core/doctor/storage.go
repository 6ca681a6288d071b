package doctor

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/repo"
)

func plugins(ctx context.Context, p *patient) (string, error) {
	names, err := p.Plugins(ctx)
	if err != nil {
		return "", err
	}
	return names + " start and answer", nil
}

// storage puts an object, reads it back and removes it.
func storage(ctx context.Context, p *patient) (string, error) {
	s, err := p.Storage(ctx)
	if err != nil {
		return "", err
	}
	r, err := repo.Open(ctx, s)
	if err != nil {
		return "", fmt.Errorf("open repository: %w", err)
	}
	all, err := r.List(ctx)
	if err != nil {
		return "", err
	}
	if err := tryStorage(ctx, s); err != nil {
		return "", err
	}
	p.storage = s
	text := fmt.Sprintf("an object is put, read back and removed; %d backups", len(all))
	if !r.Exists() {
		text += ", nor has it ever had one"
	}
	for _, b := range all {
		if b.Err != nil {
			return "", worried("remora verify "+b.ID, "%s; the one called %s cannot be used: %v", text, b.ID, b.Err)
		}
	}
	if ahead := newestAhead(all); ahead > apart {
		return "", worried("set the clocks by NTP", "the newest backup was begun %v from now on: the clock of some host is wrong", ahead.Round(time.Second))
	}
	return text, nil
}

func newestAhead(all []repo.Summary) (ahead time.Duration) {
	for _, b := range all {
		if b.Err == nil {
			ahead = max(ahead, time.Until(b.Manifest.Started))
		}
	}
	return ahead
}

// tryName is outside of all that the repository looks at.
func tryName() string { return "doctor/" + rand.Text() }

func tryStorage(ctx context.Context, s plug.Storage) error {
	name, text := tryName(), []byte("remora doctor put this here and forgot to remove it\n")
	err := putAndRead(ctx, s, name, text)
	if gone := s.Delete(context.WithoutCancel(ctx), name); err == nil && gone != nil {
		err = fmt.Errorf("remove %s again: %w", name, gone)
	}
	return code.Default(code.Storage, err)
}

func putAndRead(ctx context.Context, s plug.Storage, name string, text []byte) error {
	if _, err := s.Put(ctx, name, bytes.NewReader(text)); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	r, err := s.Get(ctx, name, 0, -1)
	if err != nil {
		return fmt.Errorf("get %s: %w", name, err)
	}
	defer r.Close()
	got, err := io.ReadAll(io.LimitReader(r, 1<<10))
	if err == nil && !bytes.Equal(got, text) {
		err = fmt.Errorf("other bytes than were put")
	}
	if err != nil {
		return fmt.Errorf("get %s: %w", name, err)
	}
	return nil
}

// room compares what is free with the data, of which compression leaves a twentieth at the least.
func room(ctx context.Context, p *patient) (string, error) {
	if p.storage == nil {
		return "", needs("storage")
	}
	s, ok := p.storage.(plug.FreeSpace)
	if !ok {
		return "the storage does not say how much room it has", nil
	}
	free, err := s.Free(ctx)
	if err != nil {
		return "", code.Default(code.Storage, fmt.Errorf("ask the storage for free space: %w", err))
	}
	least := p.data
	if p.Settings.Backup.Compression != "none" {
		least /= 20
	}
	switch {
	case free < 0:
		return "the storage does not say how much room it has", nil
	case free < least:
		return "", code.Hint(code.NoSpace, "make room, or name another storage", "%s free for %s of data", size(free), size(p.data))
	case free < p.data:
		return "", worried("make room, or delete old backups", "%s free for %s of data: whether a backup fits depends on how well they compress", size(free), size(p.data))
	}
	return fmt.Sprintf("%s free for %s of data", size(free), size(p.data)), nil
}

// apart is how much two clocks may differ.
const apart = 5 * time.Second

// clock compares ours with that of the file system which the storage is, maybe another host's.
func clock(ctx context.Context, p *patient) (string, error) {
	if p.storage == nil {
		return "", needs("storage")
	}
	if p.Path == "" {
		return "the storage does not say what its clock is", nil
	}
	name := tryName()
	before := time.Now()
	if _, err := p.storage.Put(ctx, name, bytes.NewReader(nil)); err != nil {
		return "", code.Default(code.Storage, fmt.Errorf("put %s: %w", name, err))
	}
	after := time.Now()
	info, err := os.Stat(filepath.Join(p.Path, name))
	if gone := p.storage.Delete(context.WithoutCancel(ctx), name); err == nil {
		err = gone
	}
	if err != nil {
		return "", code.Default(code.Storage, fmt.Errorf("look at %s: %w", name, err))
	}
	if off := max(before.Sub(info.ModTime()), info.ModTime().Sub(after)); off > apart {
		return "", worried("set both clocks by NTP", "that of the storage differs by %v", off.Round(time.Second))
	}
	return "that of the storage agrees", nil
}
