package copier

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/remora-backup/remora/core/repo"
)

// Kept is what was read while the server was locked and is stored after it: compressing
// takes several times as long as reading. What is more than the limit is stored at once.
type Kept struct {
	mu      sync.Mutex
	room    int64 // bytes that may still be kept
	extents []keptExtent
}

// Keep returns room for limit bytes.
func Keep(limit int64) *Kept { return &Kept{room: limit} }

type keptExtent struct {
	repo.Extent
	data []byte
}

// memory returns n bytes, or nil if that is no room.
func (k *Kept) memory(n int) []byte {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.room < int64(n) {
		return nil
	}
	k.room -= int64(n)
	return make([]byte, n)
}

// add keeps data, which is of memory, as the extent e.
func (k *Kept) add(e repo.Extent, data []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.extents = append(k.extents, keptExtent{e, data})
}

// next takes out an extent that is to be stored.
func (k *Kept) next() (keptExtent, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := len(k.extents)
	if n == 0 {
		return keptExtent{}, false
	}
	x := k.extents[n-1]
	k.extents[n-1].data, k.extents = nil, k.extents[:n-1]
	return x, true
}

// Store stores what was kept. Nothing may be kept any more.
func (k *Kept) Store(ctx context.Context, packers []*repo.Packer) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range packers {
		group.Go(func() error {
			for x, ok := k.next(); ok; x, ok = k.next() {
				if err := p.Extent(ctx, x.Extent, x.data); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}
