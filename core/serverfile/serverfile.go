// Package serverfile opens files that belong to the server, and nothing that was put in their place.
//
// Remora may run as root, and others may write into the server's directories: the server's own account at least. A
// link to somebody else's file would bring its content into the backup, and a FIFO would hold whoever opens it, under
// the lock too. So no link is followed where the server has none, and no open waits.
package serverfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
)

const flags = os.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK

// Open opens a regular file for reading. A directory of its path may be a link, as that of a schema is where an
// administrator moved it to another disk; nobody chooses what the files there are called. The file may not be one:
// that, or anything else that is no regular file, is an error with code 20. The caller closes it.
func Open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, flags, 0)
	if errors.Is(err, unix.ELOOP) {
		return nil, refused(path, fs.ModeSymlink)
	}
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = refused(path, st.Mode().Type())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open: %w", err)
	}
	return f, nil
}

func refused(path string, mode fs.FileMode) error {
	return code.New(code.Version, "%s is not a regular file (%v); links and devices in place of the server's files are not supported", path, mode)
}
