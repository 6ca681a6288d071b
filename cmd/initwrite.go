package cmd

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/mysqld"
)

// writing is a first configuration.
type writing struct {
	setup
	path, passwordFile string
	found              foundServer
	password           string
}

// choose finds what was not said: where there is room, and a mysqld.
func (w *writing) choose() error {
	if bin, err := mysqld.Find(w.mysqld); err == nil {
		w.mysqld = bin
	} else if w.mysqld != "" {
		return usage(err)
	}
	if w.storage != "" {
		return nil
	}
	data := "/var/lib/mysql"
	if w.found.dataDir != "" {
		data = w.found.dataDir
	}
	best := int64(-1)
	for _, dir := range []string{"/var/backups", "/backup", "/backups", "/srv", "/mnt/backup", "/mnt"} {
		free, apart, err := roomIn(dir, data)
		if apart {
			free += 1 << 50 // what is not lost with the data comes first
		}
		if err == nil && free > best {
			best, w.storage = free, filepath.Join(dir, "remora")
		}
	}
	if best < 0 {
		return code.Hint(code.Usage, "name a directory for the backups: --storage", "none of the usual directories for backups is there")
	}
	return nil
}

// roomIn is what is free there, and whether it is another file system than that of the data.
func roomIn(dir, data string) (free int64, apart bool, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, false, err
	}
	var here, there unix.Stat_t
	if err := unix.Stat(dir, &here); err != nil {
		return 0, false, err
	}
	apart = unix.Stat(data, &there) == nil && here.Dev != there.Dev
	return int64(st.Bavail) * st.Bsize, apart, nil
}

const firstConfig = `# Written by remora init. What is commented out are examples or the defaults;
# remora doctor says whether all of it works.

[mysql]
socket = %q
user = %q
password_file = %q
%s

[state]
dir = %q                      # history and lock file

[storage]
plugin = "fs"
[storage.config]
path = %q                     # better on another disk or host than the data

# [[notify]]
# plugin = "webhook"
# [notify.config]
# url = "https://alerts.example.com/hook"

# [[notify]]
# plugin = "heartbeat"                  # called after each good run: silence is the alert
# [notify.config]
# url = "https://heartbeats.example.com/db1"

[schedule]                              # of remora serve
backup = "15 2 * * *"                   # CRON_TZ=Europe/Berlin before it names a time zone
verify = "30 5 * * SUN"
# on = "replica"                        # or "primary"; "any" is the default
# spread = "1h"                         # each server runs at its own moment in it
# fallback = "26h"                      # with on: a group without a backup for so long is backed up wherever
`

// text is the configuration, which has been read as it will be.
func (w *writing) text() (string, error) {
	program := `# mysqld = "/usr/sbin/mysqld"           # prepares restores; none was found`
	if w.mysqld != "" {
		program = fmt.Sprintf("mysqld = %q", w.mysqld)
	}
	text := fmt.Sprintf(firstConfig, w.found.socket, w.user, w.passwordFile, program, w.state, w.storage)
	if _, err := config.Parse(w.path, text); err != nil {
		return "", fmt.Errorf("make the configuration: %w", err)
	}
	return text, nil
}

// write makes the files, the password first, and the directories of state and storage. As root it gives
// all that it makes to the user of the server, as whom remora is to run.
func (w *writing) write(text string) error {
	for _, dir := range []string{filepath.Dir(w.path), w.state, w.storage} {
		if err := w.makeDir(dir); err != nil {
			return code.New(code.Usage, "make a directory: %w", err)
		}
	}
	if err := w.put(w.passwordFile, w.password+"\n"); err != nil {
		return err
	}
	return w.put(w.path, text)
}

// makeDir makes what is not there yet, each above it too.
func (w *writing) makeDir(dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	if above := filepath.Dir(dir); above != dir {
		if err := w.makeDir(above); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return w.give(dir)
}

func (w *writing) give(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(path, w.found.owner.uid, w.found.owner.gid)
}

// put makes a file that was not there, or with --force a new one in its place: a link is not followed.
func (w *writing) put(path, text string) (err error) {
	if w.force {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return code.New(code.Usage, "replace: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return code.New(code.Usage, "write: %w", err)
	}
	_, err = f.WriteString(text)
	if err == nil {
		err = w.give(path)
	}
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return code.New(code.Usage, "write %s: %w", path, err)
	}
	return nil
}
