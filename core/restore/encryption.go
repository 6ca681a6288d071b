package restore

import (
	"encoding/hex"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/repo"
)

// encryption returns the key of the blocks of the redo file f, if they are encrypted.
func encryption(f *repo.File) (redo.Encryption, error) {
	text, ok := f.Attrs[repo.AttrEncryption]
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
