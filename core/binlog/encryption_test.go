package binlog

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// encrypted is the log of a real 9.7.4 with binlog_encryption=ON, and the key of the keyring that opens it.
func encrypted(t testing.TB) (log, key []byte) {
	t.Helper()
	log, err := os.ReadFile("testdata/encrypted-9.7.4.binlog")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("testdata/encrypted-9.7.4.key")
	if err != nil {
		t.Fatal(err)
	}
	if key, err = hex.DecodeString(strings.TrimSpace(string(text))); err != nil {
		t.Fatal(err)
	}
	return log, key
}

func TestEncryption(t *testing.T) {
	log, key := encrypted(t)
	e, err := ParseEncryption(log)
	if err != nil || !strings.HasPrefix(e.KeyName, "MySQLReplicationKey_") {
		t.Fatalf("header: %+v, %v", e, err)
	}
	r, err := e.Open(key, bytes.NewReader(log))
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(log) - EncryptionHeaderSize)
	plain, err := io.ReadAll(io.NewSectionReader(r, 0, size))
	if err != nil {
		t.Fatal(err)
	}
	// Every event has a checksum.
	set, err := ExecutedAt(bytes.NewReader(plain), size)
	if err != nil || set.String() == "" {
		t.Errorf("executed: %s, %v", set, err)
	}
	// Parts are the same from wherever they are read.
	for range 100 {
		from := rand.Int64N(size)
		part := make([]byte, 1+rand.Int64N(size-from))
		if n, err := r.ReadAt(part, from); n != len(part) || err != nil || !bytes.Equal(part, plain[from:from+int64(n)]) {
			t.Fatalf("%d bytes at %d: got %d, %v, or others than when read at once", len(part), from, n, err)
		}
	}
	if n, err := r.ReadAt(make([]byte, 10), size-4); n != 4 || err != io.EOF {
		t.Errorf("over the end: got %d, %v, want 4, %v", n, err, io.EOF)
	}
	key[7] ^= 1
	if _, err := e.Open(key, bytes.NewReader(log)); !errors.Is(err, ErrKey) {
		t.Errorf("another key: %v, want %v", err, ErrKey)
	}
	for _, short := range [][]byte{nil, key[:16], key[:31]} {
		if _, err := e.Open(short, bytes.NewReader(log)); !errors.Is(err, ErrKey) {
			t.Errorf("a key of %d bytes: %v, want %v", len(short), err, ErrKey)
		}
	}
}

func TestParseEncryptionRefuses(t *testing.T) {
	log, _ := encrypted(t)
	for name, damage := range map[string]func([]byte) []byte{
		"short":         func(b []byte) []byte { return b[:EncryptionHeaderSize-1] },
		"plain":         func(b []byte) []byte { return append(golden(t), b...) },
		"version":       func(b []byte) []byte { b[4] = 2; return b },
		"unknown field": func(b []byte) []byte { b[5] = 9; return b },
		"no fields":     func(b []byte) []byte { b[5] = 0; return b },
		"long name":     func(b []byte) []byte { b[6] = 255; return b },
	} {
		if e, err := ParseEncryption(damage(bytes.Clone(log))); err == nil {
			t.Errorf("%s: got %+v, want an error", name, e)
		}
	}
}

// FuzzEncryption: whatever the header says, what is read is as long as what there is, and reading it twice gives the same.
func FuzzEncryption(f *testing.F) {
	log, key := encrypted(f)
	f.Add(log[:EncryptionHeaderSize+200], key, int64(5))
	f.Fuzz(func(t *testing.T, log, key []byte, at int64) {
		e, err := ParseEncryption(log)
		if err != nil {
			return
		}
		r, err := e.Open(key, bytes.NewReader(log))
		if err != nil {
			return
		}
		p, q := make([]byte, 100), make([]byte, 100)
		n, err := r.ReadAt(p, at)
		m, _ := r.ReadAt(q, at)
		if n != m || !bytes.Equal(p[:n], q[:m]) {
			t.Errorf("read twice at %d: %x and %x", at, p[:n], q[:m])
		}
		if left := int64(len(log)-EncryptionHeaderSize) - at; err == nil && left < 100 {
			t.Errorf("read %d bytes at %d where %d are left", n, at, left)
		}
	})
}
