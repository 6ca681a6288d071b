package redolog

import "github.com/remora-backup/remora/core/innodb/redo"

// key opens the encrypted blocks of a log. They stay encrypted where they go: what the log
// says of encrypted tables is no less secret than they are. They are decrypted in memory
// only, to parse them and to cut the end.
type key struct {
	get func(redo.Encryption) (*redo.Key, error)

	info redo.Encryption
	key  *redo.Key // nil as long as no encrypted block was met
	buf  [redo.BlockSize]byte
}

// open gets the key of a log whose headers say info.
func (k *key) open(info redo.Encryption) (err error) {
	if k.key, err = k.get(info); err == nil {
		k.info = info
	}
	return err
}

// decrypt parses an encrypted block; raw stays as it is.
func (r *files) decrypt(raw []byte) (redo.Block, redo.State, error) {
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
func (r *files) encryption() (redo.Encryption, error) {
	if h, err := newestHeader(r.dir); err == nil && h.Encryption.Present {
		return h.Encryption, nil
	}
	h, err := headerOf(r.file)
	return h.Encryption, err
}

// cut ends the log in block b, encrypted or not.
func (r *files) cut(b []byte, end redo.LSN) {
	if !redo.IsEncrypted(b) || r.key.key == nil {
		redo.Cut(b, end)
		return
	}
	r.key.key.Decrypt(b)
	redo.Cut(b, end)
	r.key.key.Encrypt(b)
}
