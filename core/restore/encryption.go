package restore

import (
	"encoding/hex"
	"maps"
	"slices"

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

// sealedKeys returns what the keyring of the recovering server must open, one key for each master
// key, in order. A manifest of an earlier Remora names that of the redo log only.
func sealedKeys(m *repo.Manifest, t *tree) (keys []redo.Encryption, err error) {
	sealed := maps.Clone(m.Keys.Sealed)
	if sealed == nil {
		sealed = map[string]string{}
	}
	if t.redo != nil {
		e, err := encryption(t.redo)
		if err != nil {
			return nil, err
		}
		if e.Present {
			sealed[e.KeyName()] = hex.EncodeToString(e.Bytes())
		}
	}
	for _, id := range slices.Sorted(maps.Keys(sealed)) {
		b, err := hex.DecodeString(sealed[id])
		if err != nil {
			return nil, code.New(code.Integrity, "read the sealed key %.100q of the manifest: %w", id, err)
		}
		e, err := redo.ParseEncryption(b)
		if err != nil {
			return nil, code.New(code.Integrity, "read the sealed key %.100q of the manifest: %w", id, err)
		}
		keys = append(keys, e)
	}
	return keys, nil
}
