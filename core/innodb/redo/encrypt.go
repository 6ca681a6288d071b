package redo

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
)

// IsEncrypted reports whether the data of a block, 512 bytes, are encrypted.
func IsEncrypted(b []byte) bool { return b[4]&(encryptedBit>>8) != 0 }

// Encrypt is the reverse of Decrypt. The block must be complete, its checksum included.
// Source: os0enc.cc, Encryption::encrypt_log_block.
func (k *Key) Encrypt(b []byte) {
	for _, part := range [][]byte{b[BlockHeader : BlockHeader+BlockData], b[BlockSize-2*aes.BlockSize : BlockSize]} {
		cipher.NewCBCEncrypter(k.aes, k.iv[:]).CryptBlocks(part, part)
	}
	b[4] |= encryptedBit >> 8
}

// encryptionSize is the length of the encryption information in a file's header.
const encryptionSize = 111

// Bytes returns the encryption information as it is in the header of a file: the key of
// the log, itself encrypted, and the name of the master key. nil if there is none.
func (e Encryption) Bytes() []byte {
	if !e.Present {
		return nil
	}
	return e.append(nil)[encryptionOffset : encryptionOffset+encryptionSize]
}

// ParseEncryption reads what Bytes returned.
func ParseEncryption(b []byte) (Encryption, error) {
	if len(b) != encryptionSize {
		return Encryption{}, fmt.Errorf("parse redo encryption: %d bytes, want %d: %w", len(b), encryptionSize, ErrCorrupt)
	}
	var block [BlockSize]byte
	copy(block[encryptionOffset:], b)
	e := parseEncryption(block[:])
	if string(e.Magic[:]) != "lCC" {
		return e, fmt.Errorf("parse redo encryption: layout %q is not known here: %w", e.Magic, ErrCorrupt)
	}
	return e, nil
}
