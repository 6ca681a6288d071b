// Package keyring reads the keys that a server keeps in a file.
//
// That is the data file of component_keyring_file, which is JSON with the keys as they are:
// nothing but the file's mode protects them. The file of the older plugin keyring_file has
// another format and is not read. Source: components/keyrings/keyring_file, json_data.cc.
package keyring

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// ErrNoKey means that the keyring does not have the key asked for.
var ErrNoKey = errors.New("the keyring has no such key")

// Keyring is the keys of one file by their names.
type Keyring map[string][]byte

// Read reads a keyring's data file.
func Read(path string) (Keyring, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read keyring: %w", err)
	}
	k, err := Parse(b)
	if err != nil {
		return nil, fmt.Errorf("read keyring %s: %w", path, err)
	}
	return k, nil
}

// Parse reads what is in a data file. Keys of users, which InnoDB never has, are left out.
func Parse(b []byte) (Keyring, error) {
	var f struct {
		Version  string `json:"version"`
		Elements []struct {
			User string `json:"user"`
			ID   string `json:"data_id"`
			Type string `json:"data_type"`
			Data string `json:"data"`
		} `json:"elements"`
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("it is no data file of component_keyring_file: %w", quiet(err))
	}
	if f.Version != "1.0" {
		return nil, fmt.Errorf("it is of version %.20q, want 1.0", f.Version)
	}
	k := Keyring{}
	for _, e := range f.Elements {
		if e.User != "" || e.Type != "AES" {
			continue
		}
		key, err := hex.DecodeString(e.Data)
		if err != nil {
			return nil, fmt.Errorf("key %.100q is not hexadecimal", e.ID)
		}
		k[e.ID] = key
	}
	return k, nil
}

// quiet keeps what was read out of the message: it may be a key.
func quiet(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("no JSON at byte %d", syntax.Offset)
	}
	return errors.New("not the JSON expected")
}

// Key returns a key; the error wraps ErrNoKey.
func (k Keyring) Key(name string) ([]byte, error) {
	key, ok := k[name]
	if !ok {
		return nil, fmt.Errorf("find key %s: %w", name, ErrNoKey)
	}
	return key, nil
}

// configName is the component's configuration, beside its library, or, when that says
// read_local_config, in the data directory.
const configName = "component_keyring_file.cnf"

// Find returns the path of the data file that the configuration in dir names, which is the
// server's plugin directory or data directory. The error wraps fs.ErrNotExist if there is
// no configuration.
func Find(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, configName))
	if err != nil {
		return "", fmt.Errorf("read the keyring's configuration: %w", err)
	}
	var c struct {
		Path string `json:"path"`
	}
	if err := json.Unmarshal(b, &c); err != nil || c.Path == "" {
		return "", fmt.Errorf("read the keyring's configuration %s: it names no path", filepath.Join(dir, configName))
	}
	return c.Path, nil
}
