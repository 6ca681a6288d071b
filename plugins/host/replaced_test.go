package host

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/remora-backup/remora/core/needs"
)

// TestReplacedWhileItIsStartedC12: somebody puts another executable in the plugin's place, again
// and again. What runs is what was checked, or nothing does.
func TestReplacedWhileItIsStartedC12(t *testing.T) {
	dir := t.TempDir()
	copyTo := func(program, name string) []byte {
		t.Helper()
		path, err := exec.LookPath(program)
		if err != nil {
			needs.Missing(t, "%v", err)
		}
		b, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), b, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	digest := sha256.Sum256(copyTo("true", "good"))
	copyTo("false", "evil")
	path := filepath.Join(dir, "plugin")
	place := func(name string) {
		temp := path + ".new"
		if err := os.Link(filepath.Join(dir, name), temp); err != nil {
			t.Error(err)
		}
		if err := os.Rename(temp, path); err != nil {
			t.Error(err)
		}
	}
	spec := Spec{Kind: Storage, Name: path, SHA256: hex.EncodeToString(digest[:])}
	start := func(between func()) (ran bool) {
		t.Helper()
		cmd, release, err := command(spec, options(t))
		if err != nil {
			if !strings.Contains(err.Error(), "its SHA-256 is") {
				t.Errorf("got %v", err)
			}
			return false
		}
		defer release()
		between()
		if err := cmd.Run(); err != nil {
			t.Errorf("another executable ran: %v", err)
		}
		return true
	}

	place("good")
	if !start(func() { place("evil") }) {
		t.Error("it was not started")
	}
	if start(func() {}) {
		t.Error("the other one was started")
	}

	stop := make(chan struct{})
	var replacing sync.WaitGroup
	replacing.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				place("good")
				place("evil")
			}
		}
	})
	ran, refused := 0, 0
	for range 200 {
		if start(func() {}) {
			ran++
		} else {
			refused++
		}
	}
	close(stop)
	replacing.Wait()
	if ran == 0 || refused == 0 {
		t.Errorf("started %d times, refused %d times: there was no race", ran, refused)
	}
}
