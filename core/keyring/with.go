package keyring

import (
	"errors"
	"io/fs"
	"time"

	"github.com/remora-backup/remora/core/binlog"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
)

const hint = `name the data file of component_keyring_file in the configuration: [mysql] keyring_file = "/path/to/keyring"`

// settle bounds the wait for a keyring that is being written: a server that adds a key
// empties the file first, and writes it anew.
const settle = time.Second

// with opens something with the keyring in file; "" is the one that a configuration in
// dataDir names. open may be called several times, each time with the keyring read anew.
func with[T any](file, dataDir, doing string, open func(Keyring) (T, error)) (T, error) {
	var none T
	from := "[mysql] keyring_file"
	if file == "" {
		var err error
		if file, err = Find(dataDir); errors.Is(err, fs.ErrNotExist) {
			return none, code.Hint(code.Usage, hint, "%s: the setting [mysql] keyring_file is not there, so its key cannot be read", doing)
		} else if err != nil {
			return none, code.Hint(code.Usage, hint, "%s: %w", doing, err)
		}
		from = "the configuration in " + dataDir
	}
	try := func() (T, error) {
		ring, err := Read(file)
		if err != nil {
			return none, err
		}
		return open(ring)
	}
	opened, err := try()
	for end := time.Now().Add(settle); retry(err) && time.Now().Before(end); opened, err = try() {
		time.Sleep(20 * time.Millisecond)
	}
	switch {
	case err == nil:
		return opened, nil
	case errors.Is(err, fs.ErrPermission):
		return none, code.Hint(code.Privilege, "let the user that remora runs as read the file of [mysql] keyring_file", "%s with the keyring of %s: %w", doing, from, err)
	case errors.Is(err, ErrNoKey), errors.Is(err, redo.ErrKey), errors.Is(err, binlog.ErrKey):
		return none, code.Hint(code.Integrity, hint, "%s with the keyring of %s, %s: %w", doing, from, file, err)
	}
	return none, code.Hint(code.Usage, hint, "%s with the keyring of %s: %w", doing, from, err)
}

func retry(err error) bool {
	return err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, redo.ErrKey) && !errors.Is(err, binlog.ErrKey)
}
