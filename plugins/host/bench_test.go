package host

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/remora-backup/remora/core/plug"
)

// benchSize is that of a pack, the object that backups are made of.
const benchSize = 128 << 20

// zeros gives n bytes as fast as bytes can be given.
type zeros struct{ n int64 }

func (z *zeros) Read(b []byte) (int, error) {
	if z.n == 0 {
		return 0, io.EOF
	}
	n := min(int64(len(b)), z.n)
	z.n -= n
	return int(n), nil
}

// plainCopy is what the plugin is measured against: a process that copies between a
// socket and a file, as durable as the plugin and with no check of what it copies.
func plainCopy(dir string) {
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		panic(err)
	}
	fmt.Println("ready")
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		op := make([]byte, 1)
		if _, err := io.ReadFull(conn, op); err != nil {
			panic(err)
		}
		if op[0] == 'p' {
			plainPut(conn, dir)
		} else {
			plainGet(conn, dir)
		}
		_ = conn.Close()
	}
}

func plainPut(conn net.Conn, dir string) {
	f, err := os.Create(filepath.Join(dir, "temp"))
	if err != nil {
		panic(err)
	}
	// Only Read and Write, so that neither side gets help from the kernel.
	if _, err := io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{conn}, make([]byte, 1<<20)); err != nil {
		panic(err)
	}
	d, err := os.Open(dir)
	if err != nil {
		panic(err)
	}
	for _, do := range []func() error{f.Sync, f.Close, func() error { return os.Rename(f.Name(), filepath.Join(dir, "object")) }, d.Sync, d.Close} {
		if err := do(); err != nil {
			panic(err)
		}
	}
	_, _ = conn.Write([]byte("k"))
}

func plainGet(conn net.Conn, dir string) {
	f, err := os.Open(filepath.Join(dir, "object"))
	if err != nil {
		panic(err)
	}
	defer f.Close()
	_, _ = io.CopyBuffer(struct{ io.Writer }{conn}, struct{ io.Reader }{f}, make([]byte, 1<<20))
}

// benchDir is where the objects go: REMORA_BENCH_DIR, or memory, where the disk does not
// hide what the wire costs.
func benchDir(b *testing.B) string {
	base := os.Getenv("REMORA_BENCH_DIR")
	if base == "" {
		base = "/dev/shm"
	}
	dir, err := os.MkdirTemp(base, "remora-bench-")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// sides starts the two that are compared.
func sides(b *testing.B) (s plug.Storage, plain func(op string, r io.Reader)) {
	dir := benchDir(b)
	p, err := Start(b.Context(), Spec{Kind: Storage, Name: "fs", Config: []byte(fmt.Sprintf(`{"path":%q}`, filepath.Join(dir, "fs")))},
		Options{Self: os.Args[0], Builtins: map[string][]string{Storage: {"fs"}}, Logger: hclog.NewNullLogger()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.Close(context.Background()) })
	other := exec.Command(os.Args[0], "plain", dir)
	out, err := other.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := other.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = other.Process.Kill()
		_ = other.Wait()
	})
	if _, err := io.ReadFull(out, make([]byte, 5)); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	return p.Storage(), func(op string, r io.Reader) {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, "s")})
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		_, err = io.WriteString(conn, op)
		if err == nil && r != nil {
			_, err = io.CopyBuffer(struct{ io.Writer }{conn}, r, buf)
			_ = conn.CloseWrite()
		}
		if err == nil {
			_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{conn}, buf)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

// compare runs both in turn, so that a busy machine is busy for both.
func compare(b *testing.B, ours, plain func()) {
	var a, c time.Duration
	for b.Loop() {
		begun := time.Now()
		plain()
		c += time.Since(begun)
		begun = time.Now()
		ours()
		a += time.Since(begun)
	}
	rate := func(d time.Duration) float64 { return float64(b.N) * benchSize / 1e6 / d.Seconds() }
	b.ReportMetric(rate(a), "plugin-MB/s")
	b.ReportMetric(rate(c), "plain-MB/s")
	b.ReportMetric(c.Seconds()/a.Seconds(), "ratio")
}

func BenchmarkPut(b *testing.B) {
	s, plain := sides(b)
	compare(b, func() {
		if _, err := s.Put(b.Context(), "object", &zeros{benchSize}); err != nil {
			b.Fatal(err)
		}
	}, func() { plain("p", &zeros{benchSize}) })
}

func BenchmarkGet(b *testing.B) {
	s, plain := sides(b)
	plain("p", &zeros{benchSize})
	if _, err := s.Put(b.Context(), "object", &zeros{benchSize}); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	compare(b, func() {
		r, err := s.Get(b.Context(), "object", 0, -1)
		if err != nil {
			b.Fatal(err)
		}
		if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, buf); err != nil || n != benchSize {
			b.Fatal(n, err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}, func() { plain("g", nil) })
}
