package outside

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld/lab"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
)

// world is where one draw takes place.
type world struct {
	t       *testing.T
	d       *draw
	program string // remora
	mysqld  string
	dir     string
	config  string
	source  *lab.Server
	process *process // the backup

	opened  *sql.Tx // the transaction that stays open
	stop    context.CancelFunc
	writing sync.WaitGroup
}

func newWorld(t *testing.T, d *draw, program string) *world {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "ro-") // short: a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, d: d, program: program, mysqld: mysqldtest.Binary(t), dir: dir, config: filepath.Join(dir, "remora.toml"), stop: func() {}}
	t.Cleanup(func() {
		w.stop()
		w.writing.Wait()
		if w.source != nil {
			if err := w.source.Remove(); err != nil {
				t.Log(err)
			}
		}
		if t.Failed() {
			t.Logf("kept: %s", dir)
			return
		}
		os.RemoveAll(dir)
	})
	return w
}

// out is one of the directories outside of the data directory.
func (w *world) out(name string) string { return filepath.Join(w.dir, "out", name) }

func (w *world) in(text string) string {
	return strings.ReplaceAll(text, "OUT", filepath.Join(w.dir, "out"))
}

func (w *world) all(texts []string) (out []string) {
	for _, s := range texts {
		out = append(out, w.in(s))
	}
	return out
}

// begin makes the server with all that was drawn, and the configuration.
func (w *world) begin(ctx context.Context) error {
	for _, name := range []string{"home", "undo", "redo", "dblwr", "temp", "tmp", "ext", "binlog"} {
		if err := os.MkdirAll(w.out(name), 0o750); err != nil {
			return err
		}
	}
	keyring := ""
	if w.d.keyring {
		w.mysqld, keyring = mysqldtest.Keyring(w.t)
	}
	if err := w.launch(ctx); err != nil {
		return err
	}
	if err := w.sql(ctx, append([]string{"CREATE USER 'remora'@'localhost' IDENTIFIED BY 'outside'"}, w.d.grants...)...); err != nil {
		return err
	}
	if err := w.fill(ctx); err != nil {
		return err
	}
	return w.configure(keyring)
}

// launch starts a server on a data directory with the drawn layout.
func (w *world) launch(ctx context.Context) (err error) {
	o := lab.Options{Bin: w.mysqld, InitArgs: w.all(w.d.initArgs)}
	o.Args = append([]string{"--innodb-flush-method=nosync", "--sync-binlog=0", "--innodb-flush-log-at-trx-commit=2"}, w.all(w.d.args)...)
	if layout := w.layout(); len(layout) > 0 {
		if o.DataDir, err = w.initialise(ctx, layout); err != nil {
			return err
		}
	}
	w.source, err = lab.Start(ctx, o)
	return err
}

// layout are the arguments that must hold from the beginning on.
func (w *world) layout() []string {
	layout := w.all(w.d.initArgs)
	for _, a := range w.all(w.d.args) {
		if strings.HasPrefix(a, "--innodb") && (strings.Contains(a, "dir=") || strings.Contains(a, "directory=")) || strings.Contains(a, "temp-data-file") {
			layout = append(layout, a)
		}
	}
	return layout
}

func (w *world) initialise(ctx context.Context, layout []string) (string, error) {
	data := filepath.Join(w.dir, "data")
	args := append([]string{"--no-defaults", "--initialize-insecure", "--innodb-redo-log-capacity=8M", "--datadir=" + data}, layout...)
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	if out, err := exec.CommandContext(ctx, w.mysqld, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("initialise: %w: %s", err, out[max(0, len(out)-300):])
	}
	return data, nil
}

func (w *world) configure(keyring string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	text := fmt.Sprintf("[mysql]\nsocket = %q\nuser = \"remora\"\npassword_file = %q\nmysqld = %q\nmysqld_args = [\"--innodb-flush-method=nosync\"]\n", w.source.Socket, filepath.Join(w.dir, "password"), w.mysqld)
	if keyring != "" {
		text += fmt.Sprintf("keyring_file = %q\n", keyring)
	}
	text += fmt.Sprintf("[state]\ndir = %q\n[backup]\nlock_patience = \"10s\"\n[storage]\nplugin = %q\nargs = [%q]\n[storage.config]\npath = %q\n", filepath.Join(w.dir, "state"), self, storageWord, filepath.Join(w.dir, "repo"))
	for _, name := range sorted(w.d.storage) {
		text += name + " = " + w.d.storage[name] + "\n"
	}
	return errors.Join(os.WriteFile(w.config, []byte(text), 0o600), os.WriteFile(filepath.Join(w.dir, "password"), []byte("outside\n"), 0o600))
}

// expected is what the source holds.
func (w *world) expected(ctx context.Context) (st state, err error) {
	select {
	case <-w.source.Done(): // killed at last
		if err := w.source.Restart(ctx); err != nil {
			return nil, err
		}
	default:
	}
	err = w.conn(ctx, func(c *sql.Conn) error { st, err = stateOf(ctx, c); return err })
	return st, err
}

// restore restores the newest backup. That the source's files beside its data directory are in
// the way is right: with the source's configuration the restored server would find them.
func (w *world) restore(ctx context.Context, target string) answer {
	args := []string{"restore", "--target", target, "--as", string(w.d.role)}
	a := w.remora(ctx, args...)
	if a.code == int(code.Target) && w.beside() {
		return w.remora(ctx, append(args, "--ignore-leftovers")...)
	}
	return a
}

// beside reports whether the source keeps files outside of its data directory.
func (w *world) beside() bool {
	return slices.ContainsFunc(w.d.args, func(a string) bool {
		return strings.Contains(a, "OUT/") && !strings.HasPrefix(a, "--innodb-directories")
	}) ||
		slices.ContainsFunc(w.d.objects, func(o object) bool { return strings.Contains(o.create, "OUT/") })
}
