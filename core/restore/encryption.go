package restore

import (
	"encoding/hex"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/repo"
)

// attrEncryption of the redo file is what core/backup found in the header of an encrypted
// log: the key of its blocks, sealed with a master key. Neither we nor the backup have that
// one; the server that recovers must find it in its keyring.
const attrEncryption = "encryption"

// encrypt gives the made log the key of its blocks, if they are encrypted.
func (l *redoLog) encrypt(f *repo.File) error {
	text, ok := f.Attrs[attrEncryption]
	if !ok {
		return nil
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		return code.New(code.Integrity, "read the key of the redo log: %w", err)
	}
	e, err := redo.ParseEncryption(b)
	if err != nil {
		return code.Default(code.Integrity, err)
	}
	for i := range l.headers {
		l.headers[i].Encryption = e
	}
	return nil
}
