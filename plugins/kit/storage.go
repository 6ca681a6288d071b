package kit

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/plug/plugtest"
	"github.com/remora-backup/remora/plugins/host"
)

// base returns a prefix for names of one check.
func base() string { return "plugtest-" + strings.ToLower(rand.Text()[:8]) + "/" }

// content is what the object with that number holds.
func content(n int) []byte { return bytes.Repeat([]byte(fmt.Sprintf("object %d. ", n)), n*20_000+1) }

func put(t plugtest.T, p *host.Plugin, name string, b []byte) {
	t.Helper()
	if _, err := p.Storage().Put(t.Context(), name, bytes.NewReader(b)); err != nil {
		t.Fatalf("put %s: %v", name, err)
	}
}

// holds says what is wrong with an object, or nil.
func holds(t plugtest.T, p *host.Plugin, name string, want []byte) error {
	r, err := p.Storage().Get(t.Context(), name, 0, int64(len(want)))
	if err != nil {
		return err
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err == nil && !bytes.Equal(got, want) {
		err = fmt.Errorf("got other bytes than were put")
	}
	return err
}

func remove(t plugtest.T, p *host.Plugin, prefix string) {
	var names []string
	for o, err := range p.Storage().List(context.WithoutCancel(t.Context()), prefix) {
		if err != nil {
			t.Errorf("list what has to be deleted: %v", err)
			return
		}
		names = append(names, o.Name)
	}
	for _, name := range names {
		if err := p.Storage().Delete(context.WithoutCancel(t.Context()), name); err != nil {
			t.Errorf("delete %s: %v", name, err)
		}
	}
}

// hooked reads from r, and does something once when the first bytes have gone.
type hooked struct {
	r    io.Reader
	left int
	do   func() error
}

func (h *hooked) Read(b []byte) (int, error) {
	if h.left == 0 && h.do != nil {
		do := h.do
		h.do = nil
		if err := do(); err != nil {
			return 0, err
		}
	}
	if h.do != nil {
		b = b[:min(len(b), h.left)]
	}
	n, err := h.r.Read(b)
	h.left -= min(n, h.left)
	return n, err
}

// begun is how many bytes of an upload have been sent when something happens to it.
const begun = 3 << 20

// pauseInPut: packs with the redo log of a server that has little to do wait for minutes.
func pauseInPut(t plugtest.T, s *subject) {
	name, want := base()+"paused", bytes.Repeat([]byte("x"), 2*begun)
	r := &hooked{r: bytes.NewReader(want), left: begun, do: func() error { return wait(t.Context(), s.kit.Pause) }}
	if _, err := s.p.Storage().Put(t.Context(), name, r); err != nil {
		t.Fatalf("put that stands still for %v in the middle: %v; a pause has no bound", s.kit.Pause, err)
	}
	defer remove(t, s.p, name)
	if err := holds(t, s.p, name, want); err != nil {
		t.Errorf("get: %v", err)
	}
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// abortedPut looks at the files that the plugin writes during an upload.
func abortedPut(t plugtest.T, s *subject) {
	before, during := written(s.p.Pid()), map[string]bool{}
	errAborted := errors.New("aborted on purpose")
	r := &hooked{r: bytes.NewReader(make([]byte, 2*begun)), left: begun, do: func() error {
		for range 20 { // until it has opened one; it may have none
			if during = written(s.p.Pid()); len(during) > len(before) {
				break
			}
			if err := wait(t.Context(), 50*time.Millisecond); err != nil {
				return err
			}
		}
		return errAborted
	}}
	if _, err := s.p.Storage().Put(t.Context(), base()+"aborted", r); !errors.Is(err, errAborted) {
		t.Fatalf("put whose bytes end with an error: got %v", err)
	}
	for name := range during {
		if before[name] {
			continue
		}
		for i := 0; ; i++ {
			if _, err := os.Lstat(name); err != nil {
				break
			}
			if i == 20 {
				t.Errorf("the upload was aborted, and its file %s is left", name)
				break
			}
			_ = wait(t.Context(), 50*time.Millisecond)
		}
	}
}

func killInPut(t plugtest.T, s *subject) {
	dir := base()
	old, fresh := dir+"old", dir+"new"
	put(t, s.p, old, content(1))
	for _, name := range []string{old, fresh} {
		p := s.start(t)
		r := &hooked{r: bytes.NewReader(make([]byte, 2*begun)), left: begun, do: func() error { p.Kill(); return nil }}
		if _, err := p.Storage().Put(t.Context(), name, r); err == nil {
			t.Errorf("put of %s: it was killed in the middle, and there is no error", name)
		}
		closeQuietly(t, p)
	}
	p := s.start(t)
	defer closeQuietly(t, p)
	defer remove(t, p, dir)
	if err := holds(t, p, old, content(1)); err != nil {
		t.Errorf("killed while an object was replaced, its old bytes are lost: %v", err)
	}
	if o, err := p.Storage().Stat(t.Context(), fresh); !errors.Is(err, plug.ErrNotExist) {
		t.Errorf("killed in the middle of an upload, there is an object: got %+v, %v; want NOT_FOUND", o, err)
	}
	sameNames(t, p, dir, []string{old})
}

// killKeeps: what Commit has answered is durable, which begins with another process finding it.
func killKeeps(t plugtest.T, s *subject) {
	keeps(t, s, "killed", func(p *host.Plugin) { p.Kill() })
}

func restartKeeps(t plugtest.T, s *subject) {
	keeps(t, s, "ended and started again", func(p *host.Plugin) { closeQuietly(t, p) })
}

func keeps(t plugtest.T, s *subject, how string, end func(*host.Plugin)) {
	dir := base()
	p := s.start(t)
	var names []string
	for n := range 4 {
		names = append(names, fmt.Sprintf("%sdir/%d", dir, n))
		put(t, p, names[n], content(n))
	}
	end(p)
	closeQuietly(t, p)
	p = s.start(t)
	defer closeQuietly(t, p)
	defer remove(t, p, dir)
	for n, name := range names {
		if err := holds(t, p, name, content(n)); err != nil {
			t.Errorf("after it was %s, an object that Commit had answered for: %v", how, err)
		}
	}
	sameNames(t, p, dir, names)
}

func sameNames(t plugtest.T, p *host.Plugin, prefix string, want []string) {
	t.Helper()
	var got []string
	for o, err := range p.Storage().List(t.Context(), prefix) {
		if err != nil {
			t.Errorf("list: %v", err)
			return
		}
		if got = append(got, o.Name); len(got) > len(want) {
			break
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("list: got %v, want %v", got, want)
	}
}
