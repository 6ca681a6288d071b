// Package storagepython_test runs the plugin in Python as remora does.
package storagepython_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/plugins/host"
	"github.com/remora-backup/remora/plugins/kit"
)

// script puts the plugin where only its owner can write, as the host demands.
func script(t *testing.T) string {
	t.Helper()
	if out, err := exec.Command("/usr/bin/python3", "-c", "import grpc").CombinedOutput(); err != nil {
		needs.Missing(t, "needs Debian's python3-grpcio: %v: %s", err, out)
	}
	b, err := os.ReadFile("storage.py")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "storage.py")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func spec(path, config string) host.Spec {
	return host.Spec{Kind: host.Storage, Name: path, MTLS: "off", Config: []byte(config)}
}

func TestPromises(t *testing.T) {
	needs.Time(t)
	// It never closes an upload that stands still; 11 s are more than its socket waits for
	// the host's connection.
	k := kit.Kit{Spec: spec(script(t), fmt.Sprintf(`{"dir":%q}`, needs.Memory(t))), Pause: 11 * time.Second}
	for r, err := range k.Check(t.Context()) {
		if err != nil || !r.OK {
			t.Errorf("%s: %s %v", r.Name, r.Detail, err)
		}
	}
}

func TestFreeSpace(t *testing.T) {
	p, err := host.Start(t.Context(), spec(script(t), fmt.Sprintf(`{"dir":%q}`, needs.Memory(t))), host.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := p.Storage().(plug.FreeSpace); !ok {
		t.Error("its ability to tell free space is not seen")
	}
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

func TestUnknownKey(t *testing.T) {
	_, err := host.Start(t.Context(), spec(script(t), `{"dri":"/x"}`), host.Options{})
	if code.Of(err) != code.Usage || !strings.Contains(err.Error(), "unknown key 'dri'") {
		t.Errorf("got code %d, %v", code.Of(err), err)
	}
}

func TestMutualTLSIsSaidToBeMissing(t *testing.T) {
	s := spec(script(t), `{"dir":"/x"}`)
	s.MTLS = ""
	_, err := host.Start(t.Context(), s, host.Options{})
	if code.Of(err) != code.Plugin || !strings.Contains(code.HintOf(err), `mtls = "off"`) {
		t.Errorf("got code %d, %v, hint %q", code.Of(err), err, code.HintOf(err))
	}
	if errors.Is(err, plug.ErrInvalid) {
		t.Error("that is no error of its configuration")
	}
}
