package keyring

import (
	"errors"
	"io/fs"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
)

const hint = `name the data file of component_keyring_file in the configuration: [mysql] keyring_file = "/path/to/keyring"`

// RedoKey opens the key of an encrypted redo log, whose headers say info, with the keyring
// in file; "" is the one that a configuration in dataDir names. Errors carry a code, and a
// hint that names the setting.
func RedoKey(file, dataDir string, info redo.Encryption) (*redo.Key, error) {
	const doing = "open the encrypted redo log"
	if !info.Present {
		return nil, code.New(code.Integrity, doing+": the header of no file names a key")
	}
	from := "[mysql] keyring_file"
	if file == "" {
		var err error
		if file, err = Find(dataDir); errors.Is(err, fs.ErrNotExist) {
			return nil, code.Hint(code.Usage, hint, doing+": the setting [mysql] keyring_file is not there, so key %s cannot be read", info.KeyName())
		} else if err != nil {
			return nil, code.Hint(code.Usage, hint, doing+": %w", err)
		}
		from = "the configuration in " + dataDir
	}
	key, err := unwrap(file, info)
	for end := time.Now().Add(settle); retry(err) && time.Now().Before(end); key, err = unwrap(file, info) {
		time.Sleep(20 * time.Millisecond)
	}
	switch {
	case err == nil:
		return key, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, code.Hint(code.Privilege, "let the user that remora runs as read the file of [mysql] keyring_file", doing+" with the keyring of %s: %w", from, err)
	case errors.Is(err, ErrNoKey), errors.Is(err, redo.ErrKey):
		return nil, code.Hint(code.Integrity, hint, doing+" with the keyring of %s, %s: %w", from, file, err)
	}
	return nil, code.Hint(code.Usage, hint, doing+" with the keyring of %s: %w", from, err)
}

// settle bounds the wait for a keyring that is being written: a server that adds a key
// empties the file first, and writes it anew.
const settle = time.Second

func retry(err error) bool {
	return err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, redo.ErrKey)
}

func unwrap(file string, info redo.Encryption) (*redo.Key, error) {
	ring, err := Read(file)
	if err != nil {
		return nil, err
	}
	master, err := ring.Key(info.KeyName())
	if err != nil {
		return nil, err
	}
	return info.Unwrap(master)
}
