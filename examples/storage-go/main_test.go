package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/remora-backup/remora/core/plug/plugtest"
	"github.com/remora-backup/remora/plugins/host"
)

// TestPromises builds the plugin and asks it, as a process, for everything it must do.
func TestPromises(t *testing.T) {
	exe := filepath.Join(t.TempDir(), "storage-go")
	if out, err := exec.Command("go", "build", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	config := fmt.Sprintf(`{"dir":%q}`, t.TempDir())
	p, err := host.Start(t.Context(), host.Spec{Kind: host.Storage, Name: exe, Config: []byte(config)}, host.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(context.Background())
	for _, r := range plugtest.CheckStorage(t.Context(), p.Storage()) {
		if !r.OK {
			t.Errorf("%s: %s", r.Name, r.Detail)
		}
	}
}
