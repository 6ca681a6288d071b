package redo

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"testing"
)

// testdata/encrypted.redo is a file header and 12 blocks of a server at which innodb_redo_log_encrypt was just switched on.
const (
	encryptedStart  = 19375104 // LSN of the first of the blocks
	encryptedMaster = "DFE33B46982E007EA1FE2242086D7E1F98EE928F26AED2C8B322D0FD0744010E"
)

func TestEncrypted(t *testing.T) {
	raw, err := os.ReadFile("testdata/encrypted.redo")
	if err != nil {
		t.Fatal(err)
	}
	h, err := ParseFileHeader(raw)
	if err != nil {
		t.Fatal(err)
	}
	if again := h.Append(nil); !bytes.Equal(again, raw[:HeaderSize]) {
		t.Error("appending the header again gives other bytes")
	}
	if got, want := h.Encryption.KeyName(), "INNODBKey-4aec4423-e53b-11f1-9402-02fc00000001-2"; got != want {
		t.Errorf("key is %s, want %s", got, want)
	}
	master, err := hex.DecodeString(encryptedMaster)
	if err != nil {
		t.Fatal(err)
	}
	key, err := h.Encryption.Unwrap(master)
	if err != nil {
		t.Fatal(err)
	}
	p := NewParser(encryptedStart+BlockHeader, 16<<10, func(Event) {})
	encrypted := 0
	for at, rest := LSN(encryptedStart), raw[HeaderSize:]; len(rest) > 0; at, rest = at+BlockSize, rest[BlockSize:] {
		b, state := ParseBlock(rest, at, RequireCRC)
		if state == Encrypted {
			encrypted++
			key.Decrypt(rest[:BlockSize])
			b, state = ParseBlock(rest, at, RequireCRC)
		}
		if state != Good {
			t.Fatalf("block at LSN %d is %v", at, state)
		}
		if err := p.Feed(b); err != nil {
			t.Fatal(err)
		}
	}
	if encrypted != 9 || p.ParsedLSN() == 0 {
		t.Errorf("%d blocks were encrypted, parsed to LSN %d; want 9 and some", encrypted, p.ParsedLSN())
	}
}

func TestUnwrapRefuses(t *testing.T) {
	e := Encryption{Present: true, Magic: [3]byte{'l', 'C', 'C'}}
	if _, err := e.Unwrap(make([]byte, 32)); !errors.Is(err, ErrKey) {
		t.Errorf("wrong key: got %v, want ErrKey", err)
	}
	if _, err := e.Unwrap(make([]byte, 5)); err == nil || errors.Is(err, ErrKey) {
		t.Errorf("key of 5 bytes: got %v", err)
	}
	if _, err := (Encryption{}).Unwrap(make([]byte, 32)); err == nil {
		t.Error("a log without a key was unwrapped")
	}
}
