package keyring

import (
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
)

// RedoKey opens the key of an encrypted redo log, whose headers say info, with the keyring
// in file; "" is the one that a configuration in dataDir names. Errors carry a code, and a
// hint that names the setting.
func RedoKey(file, dataDir string, info redo.Encryption) (*redo.Key, error) {
	const doing = "open the encrypted redo log"
	if !info.Present {
		return nil, code.New(code.Integrity, doing+": the header of no file names a key")
	}
	return with(file, dataDir, doing, func(ring Keyring) (*redo.Key, error) {
		master, err := ring.Key(info.KeyName())
		if err != nil {
			return nil, err
		}
		return info.Unwrap(master)
	})
}
