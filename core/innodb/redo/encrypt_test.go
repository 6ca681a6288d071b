package redo

import (
	"bytes"
	"encoding/hex"
	"os"
	"testing"
)

// Encrypting what a server has encrypted, and was decrypted, gives the server's bytes.
func TestEncryptIsWhatTheServerDoes(t *testing.T) {
	raw, err := os.ReadFile("testdata/encrypted.redo")
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseFileHeader(raw)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ParseEncryption(h.Encryption.Bytes())
	if err != nil || e != h.Encryption {
		t.Fatalf("encryption: got %+v, %v, want %+v", e, err, h.Encryption)
	}
	master, err := hex.DecodeString(encryptedMaster)
	if err != nil {
		t.Fatal(err)
	}
	key, err := e.Unwrap(master)
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for at, b := LSN(encryptedStart), raw[HeaderSize:]; len(b) > 0; at, b = at+BlockSize, b[BlockSize:] {
		b := b[:BlockSize]
		if !IsEncrypted(b) {
			continue
		}
		blocks++
		was := bytes.Clone(b)
		Seal(b)
		key.Decrypt(b)
		if _, state := ParseBlock(b, at, RequireCRC); state != Good || IsEncrypted(b) {
			t.Fatalf("block at LSN %d is %v after it was decrypted", at, state)
		}
		if key.Encrypt(b); !bytes.Equal(b, was) {
			t.Errorf("block at LSN %d differs after it was encrypted again", at)
		}
	}
	if blocks != 9 {
		t.Errorf("%d blocks were encrypted, want 9", blocks)
	}
	for _, bad := range [][]byte{nil, make([]byte, encryptionSize), make([]byte, 200)} {
		if e, err := ParseEncryption(bad); err == nil {
			t.Errorf("%d bytes: got %+v, want an error", len(bad), e)
		}
	}
}

// The last bytes of an encrypted block may look like the constant for "no checksum".
func TestSealLeavesEncryptedBlocks(t *testing.T) {
	b := make([]byte, BlockSize)
	b[4] = 0x80
	copy(b[508:], []byte{0xDE, 0xAD, 0xBE, 0xEF})
	was := bytes.Clone(b)
	if Seal(b); !bytes.Equal(b, was) {
		t.Error("an encrypted block was changed")
	}
}
