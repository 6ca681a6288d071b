package redo

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Encryption says with which key the blocks of a redo log are encrypted.
//
//	| magic "lCC" 3 | master key id 4 | server uuid 36 | key 32 and iv 32, encrypted | CRC-32C of both in plain 4 |
//
// It lies 48 bytes into its block, which has no checksum. Source: Log_files_header encryption, os0enc.h.
type Encryption struct {
	Present    bool     // the redo log is, or was, encrypted
	Magic      [3]byte  // the version of this layout
	MasterKey  uint32   // number of the master key in the keyring
	ServerUUID string   // the other half of the master key's name
	Wrapped    [64]byte // key and iv, AES-256-ECB encrypted with the master key
	Checksum   uint32   // CRC-32C of the plain key and iv
}

const (
	encryptionOffset   = 48
	encryptionUUIDSize = 36
)

func parseEncryption(block []byte) Encryption {
	b := block[encryptionOffset:]
	if b[0] == 0 && b[1] == 0 && b[2] == 0 {
		return Encryption{}
	}
	e := Encryption{
		Present:    true,
		Magic:      [3]byte(b),
		MasterKey:  binary.BigEndian.Uint32(b[3:]),
		ServerUUID: string(cutNUL(b[7 : 7+encryptionUUIDSize])),
		Wrapped:    [64]byte(b[43:]),
		Checksum:   binary.BigEndian.Uint32(b[107:]),
	}
	return e
}

func (e Encryption) append(b []byte) []byte {
	var block [BlockSize]byte
	if e.Present {
		p := block[encryptionOffset:]
		copy(p, e.Magic[:])
		binary.BigEndian.PutUint32(p[3:], e.MasterKey)
		copy(p[7:7+encryptionUUIDSize], e.ServerUUID)
		copy(p[43:], e.Wrapped[:])
		binary.BigEndian.PutUint32(p[107:], e.Checksum)
	}
	return append(b, block[:]...)
}

// ErrKey says that a master key does not open the redo log's key.
var ErrKey = errors.New("wrong master key")

// KeyName returns the name of the master key in the keyring. Source: os0enc.cc, Encryption::get_master_key.
func (e Encryption) KeyName() string {
	return fmt.Sprintf("INNODBKey-%s-%d", e.ServerUUID, e.MasterKey)
}

// Unwrap opens the redo log's key with the master key of that name, 32 bytes. Source: os0enc.cc, Encryption::decode_encryption_info.
func (e Encryption) Unwrap(master []byte) (*Key, error) {
	if !e.Present {
		return nil, errors.New("unwrap the redo key: the log has none")
	}
	m, err := aes.NewCipher(master)
	if err != nil {
		return nil, fmt.Errorf("unwrap the redo key: %w", err)
	}
	plain := e.Wrapped
	for i := 0; i < len(plain); i += aes.BlockSize {
		m.Decrypt(plain[i:], plain[i:])
	}
	if crc32.Checksum(plain[:], castagnoli) != e.Checksum {
		return nil, fmt.Errorf("unwrap the redo key with %s: %w", e.KeyName(), ErrKey)
	}
	k, err := aes.NewCipher(plain[:32])
	if err != nil {
		return nil, fmt.Errorf("unwrap the redo key: %w", err)
	}
	return &Key{aes: k, iv: [aes.BlockSize]byte(plain[32:])}, nil
}

// Key decrypts blocks. It may be used by several goroutines.
type Key struct {
	aes cipher.Block
	iv  [aes.BlockSize]byte
}

// Decrypt decrypts in place a block for which ParseBlock said [Encrypted]. Whether it was the right key, and the whole block, ParseBlock tells then.
//
// All behind the header is encrypted with AES-256-CBC, which takes multiples of 16 bytes: first the 496 bytes of data, then the last 32 bytes of the
// block, checksum included, once more. Source: os0enc.cc, Encryption::decrypt_log_block.
func (k *Key) Decrypt(b []byte) {
	for _, part := range [][]byte{b[BlockSize-2*aes.BlockSize : BlockSize], b[BlockHeader : BlockHeader+BlockData]} {
		cipher.NewCBCDecrypter(k.aes, k.iv[:]).CryptBlocks(part, part)
	}
	b[4] &^= encryptedBit >> 8
}
