package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// journal remembers which packs need not be read again: a pack is entered after a sync of
// the file system that began when its last byte was written. Each line of the file is
//
//	<group of the index> <bytes>
//
// The bytes are for the progress of a later run only: what was written between two syncs,
// shared out evenly.
type journal struct {
	staging *unfinished
	every   time.Duration // between two syncs
	written atomic.Int64  // bytes since the last sync

	mu      sync.Mutex
	done    map[int]int64 // group -> bytes, synced
	pending []int         // groups written, not yet synced

	writing sync.Mutex // one sync at a time
	last    time.Time  // end of the last one
	size    int64      // of the whole lines in the file, bytes
}

// openJournal reads what an earlier run left. A line that was not written whole ends it.
func openJournal(s *unfinished, every time.Duration) (*journal, error) {
	j := &journal{staging: s, every: every, done: map[int]int64{}, last: time.Now()}
	b, err := s.dir.ReadFile(packsName)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read which packs are there: %w", err)
	}
	for {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		var group int
		var size int64
		if n, _ := fmt.Sscanf(string(line), "%d %d", &group, &size); !whole || n != 2 || fmt.Sprintf("%d %d", group, size) != string(line) {
			break
		}
		j.done[group], b = size, rest
		j.size += int64(len(line)) + 1
	}
	return j, nil
}

// has reports whether a group's bytes are all there.
func (j *journal) has(group int) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, ok := j.done[group]
	return ok
}

// empty reports whether no pack is there.
func (j *journal) empty() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.done) == 0
}

// bytes is how many bytes are there.
func (j *journal) bytes() (n int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, size := range j.done {
		n += size
	}
	return n
}

// wrote is called after the last byte of a group was written. When enough time has passed
// it makes what was written durable; one caller does so, the others go on.
func (j *journal) wrote(_ context.Context, group int) error {
	j.mu.Lock()
	j.pending = append(j.pending, group)
	j.mu.Unlock()
	if !j.writing.TryLock() {
		return nil
	}
	defer j.writing.Unlock()
	if time.Since(j.last) < j.every {
		return nil
	}
	return j.flushLocked()
}

// flush makes what was written durable, and remembers it.
func (j *journal) flush() error {
	j.writing.Lock()
	defer j.writing.Unlock()
	return j.flushLocked()
}

func (j *journal) flushLocked() error {
	groups := j.take()
	if len(groups) == 0 {
		return nil
	}
	if err := j.staging.sync(); err != nil {
		return err
	}
	share := j.written.Swap(0) / int64(len(groups))
	var lines []byte
	for _, group := range groups {
		lines = fmt.Appendf(lines, "%d %d\n", group, share)
	}
	if err := j.append(lines); err != nil {
		return fmt.Errorf("remember which packs are there: %w", noSpace(err))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, group := range groups {
		j.done[group] = share
	}
	j.last = time.Now()
	return nil
}

func (j *journal) take() []int {
	j.mu.Lock()
	defer j.mu.Unlock()
	groups := j.pending
	j.pending = nil
	return groups
}

// append writes lines after the last whole one. What a full disk or a crash left of a line
// goes first: together with ours it would name a pack that nobody wrote.
func (j *journal) append(lines []byte) error {
	f, err := j.staging.dir.OpenFile(packsName, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(j.size); err != nil {
		return err
	}
	if _, err := f.WriteAt(lines, j.size); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	j.size += int64(len(lines))
	return f.Close()
}
