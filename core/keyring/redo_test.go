package keyring

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/redo"
)

// The header and the master key of a real server's encrypted log.
func testInfo(t *testing.T) (redo.Encryption, string) {
	t.Helper()
	b, err := os.ReadFile("../innodb/redo/testdata/encrypted.redo")
	if err != nil {
		t.Fatal(err)
	}
	h, err := redo.ParseFileHeader(b)
	if err != nil {
		t.Fatal(err)
	}
	return h.Encryption, `{"version":"1.0","elements":[{"user":"","data_id":"` + h.Encryption.KeyName() +
		`","data_type":"AES","data":"DFE33B46982E007EA1FE2242086D7E1F98EE928F26AED2C8B322D0FD0744010E","extension":[]}]}`
}

func TestRedoKey(t *testing.T) {
	info, good := testInfo(t)
	tests := []struct {
		name, text string
		want       code.Code
	}{
		{"good", good, code.Done},
		{"wrong key", strings.Replace(good, "DFE33B46", "00000000", 1), code.Integrity},
		{"other keys", `{"version":"1.0","elements":[]}`, code.Integrity},
		{"empty", "", code.Usage},
		{"plugin's", "Keyring file version:2.0", code.Usage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keyring")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				key, err := RedoKey(path, "", info)
				if code.Of(err) != tt.want || (key != nil) != (err == nil) || err != nil && !strings.Contains(code.HintOf(err), "keyring_file") {
					t.Errorf("got code %d, %v, hint %q; want %d", code.Of(err), err, code.HintOf(err), tt.want)
				}
			})
		})
	}
	if _, err := RedoKey("", t.TempDir(), info); code.Of(err) != code.Usage || !strings.Contains(err.Error(), "keyring_file") {
		t.Errorf("without a setting: got %v", err)
	}
	if _, err := RedoKey("x", "", redo.Encryption{}); code.Of(err) != code.Integrity {
		t.Errorf("a log without a key: got %v", err)
	}
}

// A server that adds a key empties the file first.
func TestRedoKeyWaitsForTheFileToBeWritten(t *testing.T) {
	info, good := testInfo(t)
	path := filepath.Join(t.TempDir(), "keyring")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		written := make(chan error, 1)
		go func() {
			time.Sleep(settle / 2)
			written <- os.WriteFile(path, []byte(good), 0o600)
		}()
		if _, err := RedoKey(path, "", info); err != nil {
			t.Error(err)
		}
		if err := <-written; err != nil {
			t.Error(err)
		}
	})
}
