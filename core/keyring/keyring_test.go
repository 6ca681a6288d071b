package keyring

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// As component_keyring_file of MySQL 9.7.4 writes it.
const file = `{"version":"1.0","elements":[{"user":"","data_id":"INNODBKey-e2b29407-e53e-11f1-b073-02fc00000001-1","data_type":"AES","data":"3CF7C662B6ACC2029396DBDF60DD2A4A139BEFC2B0D529E6F527673E6B5AA8B2","extension":[]},` +
	`{"user":"root@localhost","data_id":"mine","data_type":"SECRET","data":"00","extension":[]}]}`

func TestParse(t *testing.T) {
	k, err := Parse([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	key, err := k.Key("INNODBKey-e2b29407-e53e-11f1-b073-02fc00000001-1")
	if err != nil || len(key) != 32 || key[0] != 0x3C || key[31] != 0xB2 {
		t.Errorf("key: got %x, %v", key, err)
	}
	for _, name := range []string{"mine", "INNODBKey-e2b29407-e53e-11f1-b073-02fc00000001-2"} {
		if key, err := k.Key(name); !errors.Is(err, ErrNoKey) {
			t.Errorf("key %s: got %x, %v, want ErrNoKey", name, key, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "plugin's format": "Keyring file version:2.0\x88\x00", "version": strings.Replace(file, "1.0", "2.0", 1),
		"not hexadecimal": strings.Replace(file, "3CF7", "3CFX", 1), "cut": file[:200], "other types": `{"version":1}`,
	} {
		k, err := Parse([]byte(text))
		if err == nil {
			t.Errorf("%s: got %d keys, want an error", name, len(k))
		} else if strings.Contains(err.Error(), "C662") {
			t.Errorf("%s: the error tells a key: %v", name, err)
		}
	}
}

func TestFind(t *testing.T) {
	dir := t.TempDir()
	if path, err := Find(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a configuration: got %q, %v", path, err)
	}
	for text, want := range map[string]string{`{"path":"/k/keyring","read_only":false}`: "/k/keyring", `{"read_local_config":true}`: "", `{`: ""} {
		if err := os.WriteFile(filepath.Join(dir, configName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if path, err := Find(dir); path != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", text, path, err, want)
		}
	}
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keyring")
	if k, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: got %d keys, %v", len(k), err)
	}
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	if k, err := Read(path); err != nil || len(k) != 1 {
		t.Errorf("got %d keys, %v, want 1", len(k), err)
	}
}
