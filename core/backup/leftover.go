package backup

import (
	"context"
	"fmt"
	"sync"

	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// leftover knows what an unfinished backup leaves in the storage. It can be asked at any
// moment, also while the clean-up still works.
type leftover struct {
	id string

	mu    sync.Mutex
	begun bool     // objects may be in the storage
	known bool     // names is all there is
	names []string // of objects
}

func (l *leftover) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.begun = true
}

// abort removes what a backup that failed has stored.
func (l *leftover) abort(ctx context.Context, t *run.Task, store *repo.Backup, failed error) error {
	if failed == nil {
		return nil
	}
	t.Fail(syncpoint.At(ctx, syncpoint.CleanupAbort))
	names, err := store.Abort(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.known, l.names = true, names
	return err
}

func (l *leftover) left() run.Left {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.known && !l.begun:
		return run.Left{Text: "Nothing was stored. To try again: remora backup"}
	case !l.known:
		return run.Left{Names: []string{"backups/" + l.id + "/"}, Text: "Objects of the unfinished backup may be left in the storage; the next backup removes them. They are not part of any backup. To try again: remora backup"}
	case len(l.names) == 0:
		return run.Left{Text: "Nothing of the unfinished backup is left in the storage. To try again: remora backup"}
	}
	return run.Left{Names: l.names, Text: fmt.Sprintf("%d objects of the unfinished backup are left in the storage, the first is %s; the next backup removes them: remora backup",
		len(l.names), l.names[0])}
}
