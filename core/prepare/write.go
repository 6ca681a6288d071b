package prepare

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/syncpoint"
)

// Modes that a server gives to its own files.
const (
	dirMode  = 0o750
	fileMode = 0o640
)

func writeFile(root *os.Root, name string, b []byte) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|unix.O_NOFOLLOW, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// noSpace gives an error its code if it says that the file system is full.
func noSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return code.Default(code.NoSpace, err)
	}
	return err
}

// at is a point where an interruption is looked for as well.
func at(ctx context.Context, p syncpoint.Point) error {
	if err := syncpoint.At(ctx, p); err != nil {
		return err
	}
	return context.Cause(ctx)
}
