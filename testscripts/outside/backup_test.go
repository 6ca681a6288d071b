package outside

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remora-backup/remora/core/syncpoint"
	"github.com/remora-backup/remora/core/syncpoint/debug"
)

// backUp lets the drawn things happen around and during a backup.
func (w *world) backUp(ctx context.Context) answer {
	if w.d.open {
		w.holdOpen(ctx)
	}
	writing, stop := context.WithCancel(ctx)
	w.stop = stop
	if w.d.writers {
		w.writing.Go(func() { w.write(writing) })
	}
	if w.d.settings > 0 {
		err := w.conn(ctx, func(c *sql.Conn) error {
			done, err := oddly(ctx, c, w.d.r, w.d.settings)
			w.t.Logf("before the backup: %s", strings.Join(done, "; "))
			return err
		})
		if err != nil {
			w.t.Logf("odd settings: %v", err)
		}
	}
	a := w.during(ctx)
	stop()
	w.writing.Wait()
	if w.opened != nil {
		_ = w.opened.Rollback() // its session may have been killed
	}
	return a
}

// during runs the backup, and holds it where something happens.
func (w *world) during(ctx context.Context) answer {
	if len(w.d.happening) == 0 {
		return w.remora(ctx, "backup")
	}
	socket := filepath.Join(w.dir, "sync")
	p, err := w.start("backup", "--debug-sync", socket)
	if err != nil {
		w.t.Fatal(err)
	}
	w.process = p
	running, ended := context.WithCancel(ctx)
	go func() { <-p.done; ended() }()
	for _, h := range w.d.happening {
		if _, err := debug.Do(running, socket, "arm", string(h.at)); err != nil {
			w.t.Logf("arm %s: %v", h.at, err)
		}
	}
	var all sync.WaitGroup
	for _, h := range w.d.happening {
		all.Go(func() { w.happen(running, socket, h) })
	}
	if _, err := debug.Do(running, socket, "go"); err != nil {
		w.t.Logf("go: %v", err)
	}
	a := w.wait(ctx, p)
	all.Wait()
	return a
}

// underLock bounds an event while the server is locked, as it may wait for the end of that.
const underLock = 3 * time.Second

func (w *world) happen(ctx context.Context, socket string, h happening) {
	if _, err := debug.Do(ctx, socket, "wait", string(h.at), "timeout="+patience.String()); err != nil {
		w.t.Logf("%s did not happen, as the backup did not come to %s", h.event.name, h.at)
		return
	}
	bound := time.Minute
	points := syncpoint.Backup.Phases()
	if i := slices.Index(points, h.at); i >= slices.Index(points, syncpoint.LockHeld) && i <= slices.Index(points, syncpoint.LockReleased) {
		bound = underLock
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), bound)
	defer cancel()
	err := h.event.do(within, w)
	w.t.Logf("happened at %s: %s (%v)", h.at, h.event.name, cmp.Or(err, errors.New("done")))
	_, _ = debug.Do(ctx, socket, "resume", string(h.at)) // it may have ended
}

// restart ends the server, killed or not, and starts it again.
func (w *world) restart(ctx context.Context, kill bool) error {
	if kill {
		w.source.Kill()
	}
	return w.source.Restart(ctx)
}
