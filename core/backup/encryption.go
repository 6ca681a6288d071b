package backup

import (
	"encoding/hex"
	"os"
	"path/filepath"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/keyring"
)

// attrEncryption of the redo file is the encryption information of its header, hexadecimal.
// Without it nobody can read the blocks, with it only who has the master key: an encrypted
// redo log stays encrypted in the backup, as what it says of encrypted tables is no less
// secret than they are. It is decrypted in memory only, to parse it and to cut its end.
const attrEncryption = "encryption"

// redoKey opens the encrypted blocks of a server's redo log.
type redoKey struct {
	file string // data file of the keyring; "" looks for the server's own configuration
	data string // data directory

	info redo.Encryption
	key  *redo.Key // nil as long as no encrypted block was met
	buf  [redo.BlockSize]byte
}

// open gets the key of a log whose headers say info.
func (k *redoKey) open(info redo.Encryption) (err error) {
	if k.key, err = keyring.RedoKey(k.file, k.data, info); err == nil {
		k.info = info
	}
	return err
}

// decrypt parses an encrypted block; raw stays as it is.
func (r *redoFiles) decrypt(raw []byte) (redo.Block, redo.State, error) {
	if r.key.key == nil {
		info, err := r.encryption()
		if err == nil {
			err = r.key.open(info)
		}
		if err != nil {
			return redo.Block{}, redo.Encrypted, err
		}
	}
	copy(r.key.buf[:], raw)
	r.key.key.Decrypt(r.key.buf[:])
	b, state := redo.ParseBlock(r.key.buf[:], r.next, r.sums)
	return b, state, nil
}

// encryption returns what the headers say now of the key. That of the file with the newest
// checkpoint counts; if encryption was switched on after it, another has it.
func (r *redoFiles) encryption() (redo.Encryption, error) {
	if h, err := newestHeader(r.dir); err == nil && h.Encryption.Present {
		return h.Encryption, nil
	}
	h, err := headerOf(r.file)
	return h.Encryption, err
}

// newestHeader returns the header with the newest checkpoint of a redo log.
func newestHeader(dir string) (best redo.FileHeader, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return best, err
	}
	for _, e := range entries {
		if _, spare, ok := redo.ParseName(e.Name()); !ok || spare {
			continue
		}
		h, err := readRedoHeader(filepath.Join(dir, e.Name()))
		if err == nil && h.Checkpoint() > best.Checkpoint() {
			best = h
		}
	}
	return best, nil
}

// cut ends the log in block b, encrypted or not.
func (r *redoFiles) cut(b []byte, end redo.LSN) {
	if !redo.IsEncrypted(b) || r.key.key == nil {
		redo.Cut(b, end)
		return
	}
	r.key.key.Decrypt(b)
	redo.Cut(b, end)
	r.key.key.Encrypt(b)
}

// attrs is what a restore must know of the redo file.
func (r *redoFiles) attrs() map[string]string {
	if r.key.key == nil {
		return nil
	}
	return map[string]string{attrEncryption: hex.EncodeToString(r.key.info.Bytes())}
}

// checkRedoKey makes sure, before anything is copied, that an encrypted redo log can be
// read.
func (e *engine) checkRedoKey() error {
	h, err := newestHeader(e.facts.RedoDir())
	switch {
	case err != nil:
		return unreadable(err)
	case !e.facts.RedoEncrypt || !h.Encryption.Present:
		return nil // what is met later is opened then
	case !e.facts.LogChecksums:
		return code.Hint(code.Version, "SET GLOBAL innodb_log_checksums = ON", "the redo log is encrypted and has no checksums, which cannot be added to it")
	}
	return e.redoKey().open(h.Encryption)
}

func (e *engine) redoKey() *redoKey {
	return &redoKey{file: e.cfg.KeyringFile, data: e.facts.DataDir}
}
