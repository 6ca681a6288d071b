// Package needs says what a test does when the machine lacks something, or when it is not to
// take long.
package needs

import (
	"os"
	"testing"
)

// Missing ends a test that cannot run here. With REMORA_CI set, where everything must be
// there, it fails; on a developer's machine it is skipped and says why.
func Missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("REMORA_CI") != "" {
		t.Fatalf("missing, and CI must have it: "+format, args...)
	}
	t.Skipf(format, args...)
}

// Server is the first line of a test that starts a MySQL server: go test -short leaves such
// tests out, and nothing else.
func Server(t interface{ Skip(args ...any) }) {
	if t, ok := t.(testing.TB); ok {
		t.Helper()
	}
	if testing.Short() {
		t.Skip("it starts a MySQL server: left out with -short")
	}
}

// Time is the first line of a test that takes many seconds without a server, as one that waits
// on purpose: go test -short leaves it out, too.
func Time(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("it takes long: left out with -short")
	}
}

// Memory returns a directory in memory, or where there is none a temporary one, for what is
// about anything but disks: each of thousands of syncs costs a busy disk milliseconds.
func Memory(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "remora-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
