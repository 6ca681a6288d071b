package host

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/plug/plugtest"
)

func TestStorageContract(t *testing.T) {
	needs.Time(t)
	p := start(t, fsSpec(t), options(t))
	for r := range plugtest.CheckStorage(t.Context(), p.Storage()) {
		if !r.OK {
			t.Errorf("%s: %s", r.Name, r.Detail)
		}
	}
	if _, ok := p.Storage().(plug.FreeSpace); !ok {
		t.Error("fs has lost its ability to tell free space")
	}
}

func TestStorageWithoutTLS(t *testing.T) {
	spec := oddSpec(t, nil)
	spec.MTLS = "off"
	p := start(t, spec, options(t))
	if _, ok := p.Storage().(plug.FreeSpace); ok {
		t.Error("a storage without the ability tells free space")
	}
	if _, err := p.Storage().Stat(t.Context(), "x"); !errors.Is(err, plug.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
}

// TestKilledInPut: the end is seen at once, and said.
func TestKilledInPut(t *testing.T) {
	p := start(t, fsSpec(t), options(t))
	r := &hooked{after: 1 << 20, do: func() { _ = syscall.Kill(p.Pid(), syscall.SIGKILL) }}
	_, err := p.Storage().Put(t.Context(), "x", r)
	if code.Of(err) != code.Storage || !strings.Contains(fmt.Sprint(err), "storage plugin fs exited: signal 9") {
		t.Errorf("got code %d, %v", code.Of(err), err)
	}
	<-p.Exited()
	if _, err := p.Storage().Stat(t.Context(), "x"); !strings.Contains(fmt.Sprint(err), "exited: signal 9") {
		t.Errorf("afterwards: got %v", err)
	}
}

// hooked gives zeros, without end but for a huge one, and does something on the way.
type hooked struct {
	n, after int64
	do       func()
}

func (h *hooked) Read(b []byte) (int, error) {
	if h.n >= h.after && h.do != nil {
		h.do()
		h.do = nil
	}
	if h.n > 8<<30 {
		return 0, io.EOF
	}
	h.n += int64(len(b))
	return len(b), nil
}

func TestHangsAreBounded(t *testing.T) {
	needs.Time(t)
	for call, do := range map[string]func(plug.Storage) error{
		"stat": func(s plug.Storage) error { _, err := s.Stat(t.Context(), "x"); return err },
		"put":  func(s plug.Storage) error { _, err := s.Put(t.Context(), "x", &hooked{}); return err },
		"commit": func(s plug.Storage) error {
			_, err := s.Put(t.Context(), "x", strings.NewReader("x"))
			return err
		},
	} {
		t.Run(call, func(t *testing.T) {
			opts := options(t)
			opts.Call, opts.Commit, opts.Stall = 700*time.Millisecond, 700*time.Millisecond, 700*time.Millisecond
			p := start(t, oddSpec(t, map[string]any{"hang": call}), opts)
			err := do(p.Storage())
			if code.Of(err) != code.Storage || !strings.Contains(fmt.Sprint(err), "killed: no ") {
				t.Errorf("got code %d, %v", code.Of(err), err)
			}
			<-p.Exited()
		})
	}
}

// TestSlowAbort: an abort may take what the configuration says, and a plugin that needs more
// is killed; others' transfers end with it.
func TestSlowAbort(t *testing.T) {
	broken := errors.New("broken")
	for limit, killed := range map[time.Duration]bool{20 * time.Second: false, 50 * time.Millisecond: true} {
		opts := options(t)
		opts.Abort = limit
		p := start(t, oddSpec(t, map[string]any{"hang": "abort", "slow": 400}), opts)
		r := io.MultiReader(strings.NewReader("x"), iotest.ErrReader(broken))
		_, err := p.Storage().Put(t.Context(), "x", r)
		if !errors.Is(err, broken) {
			t.Errorf("put: got %v, want what its reader said", err)
		}
		_, err = p.Storage().Stat(t.Context(), "x")
		if dead := strings.Contains(fmt.Sprint(err), "killed: no answer to abort within"); dead != killed {
			t.Errorf("with %v for an abort of 400 ms: killed %v (%v), want %v", limit, dead, err, killed)
		}
	}
	if got := (Options{}).withDefaults().Abort; got < 30*time.Second {
		t.Errorf("an abort has %v if nothing is said", got)
	}
}

func TestNoSpace(t *testing.T) {
	p := start(t, oddSpec(t, map[string]any{"no_space": 3 << 20}), options(t))
	_, err := p.Storage().Put(t.Context(), "x", &hooked{})
	if code.Of(err) != code.NoSpace || !errors.Is(err, plug.ErrNoSpace) {
		t.Errorf("got code %d, %v; want ErrNoSpace", code.Of(err), err)
	}
	if _, err := p.Storage().Stat(t.Context(), "x"); !errors.Is(err, plug.ErrNotExist) {
		t.Errorf("afterwards: got %v, want ErrNotExist", err)
	}
}
