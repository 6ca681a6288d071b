package staging

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
)

// Packs remembers which packs need not be read again: a pack is entered after a sync of
// the file system that began when its last byte was written. Each line of the file is
//
//	<group of the index> <bytes>
//
// The bytes are for the progress of a later run only: what was written between two syncs,
// shared out evenly.
type Packs struct {
	dir     *Dir
	every   time.Duration // between two syncs
	written atomic.Int64  // bytes since the last sync

	mu      sync.Mutex
	done    map[int]int64 // group -> bytes, synced
	pending []int         // groups written, not yet synced

	writing sync.Mutex // one sync at a time
	last    time.Time  // end of the last one
	size    int64      // of the whole lines in the file, bytes
}

// OpenPacks reads what an earlier run left. A line that was not written whole ends it.
func OpenPacks(s *Dir, every time.Duration) (*Packs, error) {
	p := &Packs{dir: s, every: every, done: map[int]int64{}, last: time.Now()}
	b, err := s.dir.ReadFile(packsName)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
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
		p.done[group], b = size, rest
		p.size += int64(len(line)) + 1
	}
	return p, nil
}

// Has reports whether a group's bytes are all there.
func (p *Packs) Has(group int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ok := p.done[group]
	return ok
}

// Empty reports whether no pack is there.
func (p *Packs) Empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.done) == 0
}

// Bytes is how many bytes are there.
func (p *Packs) Bytes() (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, size := range p.done {
		n += size
	}
	return n
}

// Add counts bytes that were written, of whatever pack.
func (p *Packs) Add(bytes int64) { p.written.Add(bytes) }

// Wrote is called after the last byte of a group was written. When enough time has passed
// it makes what was written durable; one caller does so, the others go on.
func (p *Packs) Wrote(group int) error {
	p.mu.Lock()
	p.pending = append(p.pending, group)
	p.mu.Unlock()
	if !p.writing.TryLock() {
		return nil
	}
	defer p.writing.Unlock()
	if time.Since(p.last) < p.every {
		return nil
	}
	return p.flushLocked()
}

// Flush makes what was written durable, and remembers it.
func (p *Packs) Flush() error {
	p.writing.Lock()
	defer p.writing.Unlock()
	return p.flushLocked()
}

func (p *Packs) flushLocked() error {
	groups := p.taken()
	if len(groups) == 0 {
		return nil
	}
	if err := p.dir.Sync(); err != nil {
		return err
	}
	share := p.written.Swap(0) / int64(len(groups))
	var lines []byte
	for _, group := range groups {
		lines = fmt.Appendf(lines, "%d %d\n", group, share)
	}
	if err := p.append(lines); err != nil {
		return fmt.Errorf("remember which packs are there: %w", code.Full(err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, group := range groups {
		p.done[group] = share
	}
	p.last = time.Now()
	return nil
}

func (p *Packs) taken() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	groups := p.pending
	p.pending = nil
	return groups
}

// append writes lines after the last whole one. What a full disk or a crash left of a line
// goes first: together with ours it would name a pack that nobody wrote.
func (p *Packs) append(lines []byte) error {
	f, err := p.dir.dir.OpenFile(packsName, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(p.size); err != nil {
		return err
	}
	if _, err := f.WriteAt(lines, p.size); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	p.size += int64(len(lines))
	return f.Close()
}
