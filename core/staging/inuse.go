package staging

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// InUse returns the process that runs on a data directory, 0 if there is none and -1 if it
// is not known which: every running server has a lock on its system tablespace. Source:
// os_file_lock.
func InUse(dir string) int {
	f, err := os.OpenFile(filepath.Join(dir, "ibdata1"), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &l); err != nil || l.Type == unix.F_UNLCK {
		return 0
	}
	if l.Pid <= 0 {
		return -1 // in another container
	}
	return int(l.Pid)
}
