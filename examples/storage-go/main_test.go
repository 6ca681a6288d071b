package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/plugins/host"
	"github.com/remora-backup/remora/plugins/kit"
)

// TestPromises builds the plugin and asks it, as a process, for everything it must do.
func TestPromises(t *testing.T) {
	needs.Time(t)
	exe := filepath.Join(t.TempDir(), "storage-go")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	k := kit.Kit{
		Spec:  host.Spec{Kind: host.Storage, Name: exe, Config: fmt.Appendf(nil, `{"dir":%q}`, needs.Memory(t))},
		Pause: 2 * time.Second,
	}
	for r, err := range k.Check(t.Context()) {
		if err != nil || !r.OK {
			t.Errorf("%s: %s %v", r.Name, r.Detail, err)
		}
	}
}
