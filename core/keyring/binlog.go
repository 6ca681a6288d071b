package keyring

import (
	"fmt"
	"io"

	"github.com/remora-backup/remora/core/binlog"
)

// Binlog returns the content of the encrypted binary log in r, opened with the keyring in
// file; "" is the one that a configuration in dataDir names. The log's header is read anew
// as often as the keyring: a server whose master key is rotated writes both. Errors carry a
// code, and a hint that names the setting.
func Binlog(file, dataDir string, r io.ReaderAt) (io.ReaderAt, error) {
	return with(file, dataDir, "open the encrypted binary log", func(ring Keyring) (io.ReaderAt, error) {
		header := make([]byte, binlog.EncryptionHeaderSize)
		if _, err := r.ReadAt(header, 0); err != nil {
			return nil, fmt.Errorf("read its header: %w", err)
		}
		e, err := binlog.ParseEncryption(header)
		if err != nil {
			return nil, err
		}
		master, err := ring.Key(e.KeyName)
		if err != nil {
			return nil, err
		}
		return e.Open(master, r)
	})
}
