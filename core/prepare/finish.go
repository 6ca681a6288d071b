package prepare

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/core/syncpoint"
)

// finishPhase removes what belongs to the server that recovered and tells other tools. Each step
// may be repeated.
type finishPhase struct{ *site }

func (f finishPhase) do(ctx context.Context, t *run.Task) error {
	if err := removeServerFiles(f.root); err != nil {
		return fmt.Errorf("remove what the recovery left: %w", err)
	}
	if err := syncpoint.Between(ctx, syncpoint.PrepareDropped); err != nil {
		return err
	}
	if err := f.source.tell(f.root); err != nil {
		return fmt.Errorf("mark the backup as prepared: %w", code.Full(err))
	}
	if err := f.quiet(t); err != nil {
		return err
	}
	if f.journal.PreparedXA > 0 {
		t.Warn("%s", inert.ToldXA(f.journal.PreparedXA, f.journal.XA))
	}
	if err := giveToOwner(f.root); err != nil {
		return fmt.Errorf("give the files to their owner: %w", err)
	}
	if err := syncpoint.Between(ctx, syncpoint.PrepareOwned); err != nil {
		return err
	}
	f.journal.Groups, f.journal.Done = nil, 0
	if err := f.journal.enter(f.root, prepared); err != nil {
		return err
	}
	t.Commit()
	_ = syncpoint.At(ctx, syncpoint.PrepareDone) // nothing here can undo it
	return nil
}

// quiet persists what a server needs that is to be something, and says how it is lifted.
func (f finishPhase) quiet(t *run.Task) (err error) {
	if f.journal.As == "" {
		t.Note("a server started on %s is as its source was: it runs its events and replicates; --as inert keeps one quiet", f.path)
		return nil
	}
	// What an earlier run that came so far has set is not said again.
	if f.set, err = inert.Quiet(f.root, ".", f.journal.As, f.channels, time.Now()); err != nil {
		return fmt.Errorf("make the server %s: %w", f.journal.As, code.Full(err))
	}
	for _, line := range inert.Told(f.journal.As, f.path, f.set) {
		t.Note("%s", line)
	}
	return nil
}

// removeServerFiles removes the identity of the server that recovered, its doublewrite
// files, and what was made for it.
func removeServerFiles(root *os.Root) error {
	entries, err := fs.ReadDir(root.FS(), ".")
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		ext := path.Ext(name)
		if name == "auto.cnf" || name == homeName || name == LogName || ext == ".dblwr" || ext == ".bdblwr" {
			if err := root.RemoveAll(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// giveToOwner gives what we and the server made to the owner of the directory. Only root
// can give files away.
func giveToOwner(root *os.Root) error {
	if os.Geteuid() != 0 {
		return nil
	}
	top, err := root.Stat(".")
	if err != nil {
		return err
	}
	own, ok := top.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the directory has none")
	}
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid == own.Uid && st.Gid == own.Gid {
			return nil
		}
		return root.Lchown(name, int(own.Uid), int(own.Gid))
	})
}
