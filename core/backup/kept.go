package backup

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/remora-backup/remora/core/repo"
)

// keptLimit bounds, in bytes, the memory for what is read under the lock; what is more than
// that is stored while the lock is held.
const keptLimit = 64 << 20

// kept is what was read under the lock and is stored after it: compressing takes several
// times as long as reading.
type kept struct {
	mu      sync.Mutex
	left    int64 // bytes that may still be kept
	extents []keptExtent
}

type keptExtent struct {
	repo.Extent
	data []byte
}

// room returns memory for n bytes, or nil if they cannot be kept.
func (k *kept) room(n int) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.left < int64(n) {
		return nil
	}
	k.left -= int64(n)
	return make([]byte, n)
}

// add keeps data, which is of room, as the extent e.
func (k *kept) add(e repo.Extent, data []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.extents = append(k.extents, keptExtent{e, data})
}

// next takes out an extent that is to be stored.
func (k *kept) next() (keptExtent, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.left = 0
	n := len(k.extents)
	if n == 0 {
		return keptExtent{}, false
	}
	x := k.extents[n-1]
	k.extents[n-1].data, k.extents = nil, k.extents[:n-1]
	return x, true
}

// storeKept stores what was read under the lock.
func (c *copier) storeKept(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, p := range c.packers {
		group.Go(func() error {
			for x, ok := c.kept.next(); ok; x, ok = c.kept.next() {
				if err := p.Extent(ctx, x.Extent, x.data); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}
