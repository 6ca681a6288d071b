package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld"
	"github.com/remora-backup/remora/core/schedule"
)

// files asks who else can read what holds secrets, and change what is run.
func files(_ context.Context, p *patient) (string, error) {
	s := p.Settings
	if _, err := s.MySQL.Password(); err != nil {
		return "", err
	}
	runs := append([]string{s.Storage.Plugin, s.Lock.Plugin, s.Path}, s.Hooks.Scripts...)
	for _, n := range s.Notify {
		runs = append(runs, n.Plugin)
	}
	for _, path := range runs {
		if !filepath.IsAbs(path) && path != s.Path {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return "", code.New(code.Usage, "look at what is run: %w", err)
		}
		if info.Mode().Perm()&0o022 != 0 {
			return "", code.Hint(code.Usage, "chmod go-w "+path, "%s can be changed by others than its owner (mode %04o), and is obeyed", path, info.Mode().Perm())
		}
	}
	if info, err := os.Stat(s.Path); err == nil && info.Mode().Perm()&0o004 != 0 {
		return "", worried("chmod o-r "+s.Path, "%s can be read by everybody (mode %04o): keep no secret of a plugin in it", s.Path, info.Mode().Perm())
	}
	return "nobody else can read the password or change what is run", nil
}

// stateRoom is what a state directory must have free: history, and notes that a crash leaves.
const stateRoom = 64 << 20

func stateDir(_ context.Context, p *patient) (string, error) {
	dir, there := p.Settings.State.Dir, p.Settings.State.Dir
	for { // it is made when it is first needed
		if _, err := os.Stat(there); !errors.Is(err, fs.ErrNotExist) || there == "/" {
			break
		}
		there = filepath.Dir(there)
	}
	if err := unix.Access(there, unix.W_OK|unix.X_OK); err != nil {
		return "", code.Hint(code.Usage, "give it to the user that runs remora, or name another: [state] dir", "[state] dir %s: %s cannot be written: %w", dir, there, err)
	}
	var st unix.Statfs_t
	if err := unix.Statfs(there, &st); err != nil {
		return "", code.New(code.Usage, "[state] dir %s: %w", dir, err)
	}
	if free := int64(st.Bavail) * st.Bsize; free < stateRoom {
		return "", code.Hint(code.NoSpace, "make room in its file system", "[state] dir %s has %s free", dir, size(free))
	}
	return dir + " can be written", nil
}

func whenDue(_ context.Context, p *patient) (string, error) {
	s, err := schedule.New(p.Settings.Schedule, "")
	if err != nil {
		return "", code.Default(code.Usage, err)
	}
	if len(s.Next(time.Now())) == 0 {
		return "none: backups are asked for by hand, or by another scheduler", nil
	}
	text := ""
	for _, r := range s.Next(time.Now()) {
		text += fmt.Sprintf("%s at %s, ", r.Operation, r.Time.Format("2006-01-02 15:04 MST"))
	}
	return text + fmt.Sprintf("plus this server's part of %v", p.Settings.Schedule.Spread), nil
}

// filesWanted is how many files a recovering server may have to open besides those of a backup.
const filesWanted = 4096

func openFiles(context.Context, *patient) (string, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return "", fmt.Errorf("read the limit of open files: %w", err)
	}
	if limit.Max < filesWanted {
		return "", worried("ulimit -Hn, or LimitNOFILE in the unit", "at most %d open files: a restore of many tables may need %d", limit.Max, filesWanted)
	}
	return fmt.Sprintf("at most %d", limit.Max), nil
}

const memoryWanted = 512 << 20

// memory asks for what this process, and a server that recovers, can have: of the machine, or of
// the control group if that has less.
func memory(context.Context, *patient) (string, error) {
	free, cpus := mysqld.FreeMemory(), runtime.GOMAXPROCS(0) // knows the limit of the control group, too
	if free > 0 && free < memoryWanted {
		return "", worried("free memory, or raise the limit of the control group", "%s of memory can be had: a restore recovers slowly below %s", size(free), size(memoryWanted))
	}
	return fmt.Sprintf("%s can be had, %d CPUs", size(free), cpus), nil
}

// restoringMysqld makes sure that what is backed up can be restored on this host.
func restoringMysqld(ctx context.Context, p *patient) (string, error) {
	const remedy = "install a mysqld of the server's version, or name it: [mysql] mysqld"
	bin, err := mysqld.Find(p.Settings.MySQL.Mysqld)
	if err != nil {
		return "", worried(remedy, "no restore on this host: %v", err)
	}
	v, err := mysqld.Version(ctx, bin)
	if err != nil {
		return "", code.Hint(code.Usage, remedy, "%w", err)
	}
	if p.server == nil {
		return fmt.Sprintf("%s is %v; whether it may open a backup is not known: the server was not reached", bin, v), nil
	}
	if err := v.CanOpen(p.server.Version()); err != nil {
		return "", code.Hint(code.Version, remedy, "a backup cannot be restored on this host: %s: %w", bin, err)
	}
	return fmt.Sprintf("%s is %v and may open a backup", bin, v), nil
}
