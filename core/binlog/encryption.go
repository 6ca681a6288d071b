package binlog

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// ErrKey means that a key is not the one that a log was encrypted with.
var ErrKey = errors.New("the key does not open it")

// EncryptionHeaderSize is how many bytes an encrypted log (binlog_encryption=ON) has before its content.
// Positions in the log count from behind them.
const EncryptionHeaderSize = 512

// Encryption is the header of an encrypted log (Rpl_encryption_header_v1::serialize in rpl_log_encryption.cc):
//
//	0         4       5
//	+---------+-------+- - -
//	| fd "bin"|version| fields, each after its type (1), in any order; zeros up to 512
//	+---------+-------+- - -
//	1: length (1) and name of a key in the keyring
//	2: the log's own password, encrypted with that key (32)
//	3: initialization vector of that encryption (16)
//
// A server whose master key is rotated writes the header anew; the password stays.
type Encryption struct {
	KeyName  string // MySQLReplicationKey_<uuid>_<number>
	password [32]byte
	iv       [aes.BlockSize]byte
}

// ParseEncryption reads the first EncryptionHeaderSize bytes of an encrypted log.
func ParseEncryption(b []byte) (Encryption, error) {
	var e Encryption
	if len(b) < EncryptionHeaderSize {
		return e, fmt.Errorf("read header of encrypted binary log: %d bytes, want %d", len(b), EncryptionHeaderSize)
	}
	d := decoder{b: b[:EncryptionHeaderSize]}
	if magic := d.take("magic", magicSize); string(magic) != encryptedMagic {
		return e, fmt.Errorf("read header of encrypted binary log: it begins with %x, want %x", magic, encryptedMagic)
	}
	if v := d.uint("version", 1); v != 1 {
		return e, fmt.Errorf("read header of encrypted binary log: version %d, want 1", v)
	}
	var seen [4]bool
	for d.err == nil && d.at < len(d.b) {
		field := d.uint("field", 1)
		if field == 0 {
			break
		}
		switch field {
		case 1:
			e.KeyName = string(d.take("key name", int(d.uint("length of key name", 1))))
		case 2:
			copy(e.password[:], d.take("password", len(e.password)))
		case 3:
			copy(e.iv[:], d.take("initialization vector", len(e.iv)))
		default:
			d.fail("field", "%d", field)
			continue
		}
		seen[field] = true
	}
	if d.err == nil && !(seen[1] && seen[2] && seen[3]) {
		d.err = errors.New("a field is missing")
	}
	if d.err != nil {
		return Encryption{}, fmt.Errorf("read header of encrypted binary log: %w", d.err)
	}
	return e, nil
}

// Open returns the content of the encrypted log r, whose header e is: a log as it would be without encryption.
// master is the key that KeyName names, 32 bytes. The error wraps ErrKey if that is another key.
func (e Encryption) Open(master []byte, r io.ReaderAt) (io.ReaderAt, error) {
	wrap, err := aes.NewCipher(master)
	if err != nil || len(master) != 32 {
		return nil, fmt.Errorf("open encrypted binary log: a key of %d bytes, want 32: %w", len(master), ErrKey)
	}
	var password [len(e.password)]byte
	cipher.NewCBCDecrypter(wrap, e.iv[:]).CryptBlocks(password[:], e.password[:])
	// Key and initialization vector come from the password as EVP_BytesToKey makes them, with one round of SHA-512
	// and no salt (Aes_ctr_cipher::open in stream_cipher.cc).
	sum := sha512.Sum512(password[:])
	block, err := aes.NewCipher(sum[:32])
	if err != nil {
		return nil, fmt.Errorf("open encrypted binary log: %w", err)
	}
	c := &content{r: r, block: block}
	copy(c.nonce[:], sum[32:])
	var magic [magicSize]byte
	if _, err := c.ReadAt(magic[:], 0); err != nil {
		return nil, fmt.Errorf("open encrypted binary log: %w", noEOF(err))
	}
	if string(magic[:]) != plainMagic {
		return nil, fmt.Errorf("open encrypted binary log: %w", ErrKey)
	}
	return c, nil
}

// content decrypts with AES-256 in counter mode. The last eight bytes of the vector count blocks from 0.
type content struct {
	r     io.ReaderAt
	block cipher.Block
	nonce [8]byte
}

// ReadAt may be called from several goroutines at once.
func (c *content) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > 1<<62 {
		return 0, fmt.Errorf("read encrypted binary log at %d: no such offset", off)
	}
	n, err := c.r.ReadAt(p, EncryptionHeaderSize+off)
	var iv [aes.BlockSize]byte
	copy(iv[:], c.nonce[:])
	binary.BigEndian.PutUint64(iv[8:], uint64(off)/aes.BlockSize)
	stream := cipher.NewCTR(c.block, iv[:])
	skip := make([]byte, off%aes.BlockSize)
	stream.XORKeyStream(skip, skip)
	stream.XORKeyStream(p[:n], p[:n])
	return n, err
}
