package prepare

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
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
