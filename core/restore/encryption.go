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

// encryption returns the key of the blocks of the redo file f, if they are encrypted.
func encryption(f *repo.File) (redo.Encryption, error) {
	text, ok := f.Attrs[attrEncryption]
	if !ok {
		return redo.Encryption{}, nil
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		return redo.Encryption{}, code.New(code.Integrity, "read the key of the redo log: %w", err)
	}
	e, err := redo.ParseEncryption(b)
	return e, code.Default(code.Integrity, err)
}
