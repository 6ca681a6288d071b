// Package systemd holds the unit of the sidecar.
package systemd

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/needs"
)

// highest is the exposure, of 100, that the unit may have: 2.0 as systemd-analyze writes it.
const highest = 20

// unit copies the unit with a program that is there and returns the path.
func unit(t *testing.T, change func(string) string) string {
	t.Helper()
	text, err := os.ReadFile("remora.service")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "remora.service")
	installed := strings.Replace(string(text), "/usr/local/bin/remora", "/bin/true", 1)
	if installed == string(text) {
		t.Fatal("the unit does not start /usr/local/bin/remora")
	}
	if err := os.WriteFile(path, []byte(change(installed)), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func same(text string) string { return text }

// analyze returns an error if the tool has anything to say.
func analyze(t *testing.T, args ...string) error {
	t.Helper()
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		needs.Missing(t, "systemd-analyze: apt-get install systemd")
	}
	out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput()
	if err == nil && args[0] == "verify" && strings.Contains(string(out), "remora.service") {
		err = fmt.Errorf("it warns")
	}
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

func TestUnitIsUnderstood(t *testing.T) {
	if err := analyze(t, "verify", unit(t, same)); err != nil {
		t.Error(err)
	}
	wrong := unit(t, func(s string) string { return strings.Replace(s, "WatchdogSec", "WatchDogSecs", 1) })
	if err := analyze(t, "verify", wrong); err == nil {
		t.Error("a key that is not known was not noticed")
	}
}

func TestUnitIsConfined(t *testing.T) {
	if err := analyze(t, "security", "--no-pager", "--offline=true", fmt.Sprintf("--threshold=%d", highest), unit(t, same)); err != nil {
		t.Error(err)
	}
	open := unit(t, func(s string) string { return strings.Replace(s, "SystemCallFilter", "#", 1) })
	if err := analyze(t, "security", "--no-pager", "--offline=true", fmt.Sprintf("--threshold=%d", highest), open); err == nil {
		t.Error("a unit that allows every system call is not above the limit")
	}
}

// TestUnitKeepsItsPromises holds what no tool knows of.
func TestUnitKeepsItsPromises(t *testing.T) {
	text, err := os.ReadFile("remora.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"Type=notify", "KillMode=mixed", "ExecReload=/bin/kill -HUP $MAINPID", "CPUWeight=20", "IOWeight=20",
		"RemoveIPC=no", // mysqld has the same user
	} {
		if !strings.Contains(string(text), "\n"+line+"\n") {
			t.Errorf("the unit has no line %s", line)
		}
	}
}
