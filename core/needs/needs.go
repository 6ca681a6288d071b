// Package needs says what a test does when the machine lacks something.
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
