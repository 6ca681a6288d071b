package host

import (
	"context"
	"hash/crc32"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	pb "github.com/remora-backup/remora/plugins/proto/v1"
)

// serveOnce lets do have the only connection to the socket "s" in dir.
func serveOnce(dir string, do func(net.Conn)) error {
	s, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		return err
	}
	go func() {
		defer s.Close()
		conn, err := s.Accept()
		if err != nil {
			return
		}
		do(conn)
		_ = conn.Close()
	}()
	return nil
}

// liar is a plugin that sends something and says something about it.
type liar struct {
	pb.StorageClient
	dir, sends string
	says       *pb.FinishResponse
	asked      int // how often Finish came
}

func (l *liar) Get(context.Context, *pb.GetRequest, ...grpc.CallOption) (*pb.GetResponse, error) {
	if err := serveOnce(l.dir, func(conn net.Conn) { _, _ = io.WriteString(conn, l.sends) }); err != nil {
		return nil, err
	}
	return &pb.GetResponse{DownloadId: "1", Socket: "s"}, nil
}

func (l *liar) Finish(ctx context.Context, _ *pb.FinishRequest, _ ...grpc.CallOption) (*pb.FinishResponse, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err() // as gRPC: nothing is sent
	}
	l.asked++
	return l.says, nil
}

func lying(t *testing.T, l *liar) *storage {
	t.Helper()
	dir, err := os.MkdirTemp("", "liar")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	p := &Plugin{opts: Options{}.withDefaults(), proc: newProcess(&exec.Cmd{}, newLogs(hclog.NewNullLogger()))}
	p.proc.socketDir, p.proc.started = dir, true // as far as anybody asks
	l.dir = dir
	return &storage{p: p, c: l}
}

// TestFinishIsAlwaysAsked: also of a download whose caller was cancelled just when it had
// all bytes, once, or the plugin keeps it for ever.
func TestFinishIsAlwaysAsked(t *testing.T) {
	sum := crc32.ChecksumIEEE([]byte("hello"))
	for _, cancelled := range []bool{false, true} {
		l := &liar{sends: "hello", says: &pb.FinishResponse{Length: 5, Crc32: sum}}
		ctx, cancel := context.WithCancel(t.Context())
		r, err := lying(t, l).Get(ctx, "x", 0, 5)
		if err != nil {
			t.Fatal(err)
		}
		d := r.(*download)
		if _, err := io.ReadFull(d.conn, make([]byte, 5)); err != nil {
			t.Fatal(err)
		}
		d.got.length, d.got.crc = 5, sum
		if cancelled {
			cancel()
		}
		if err := d.confirm(); (err != nil) != cancelled {
			t.Errorf("confirm: got %v, cancelled %v", err, cancelled)
		}
		for range 2 {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
		if l.asked != 1 {
			t.Errorf("cancelled %v: the plugin was asked %d times, want once", cancelled, l.asked)
		}
		cancel()
	}
}

// TestGetBelievesNothing: whatever the plugin sends or says, only what was asked for and
// agrees ends with io.EOF.
func TestGetBelievesNothing(t *testing.T) {
	sum := crc32.ChecksumIEEE([]byte("hello"))
	for name, c := range map[string]struct {
		sends  string
		says   *pb.FinishResponse
		length int64
		ok     bool
	}{
		"true":              {"hello", &pb.FinishResponse{Length: 5, Crc32: sum}, 5, true},
		"true, to the end":  {"hello", &pb.FinishResponse{Length: 5, Crc32: sum}, -1, true},
		"flipped":           {"hellp", &pb.FinishResponse{Length: 5, Crc32: sum}, 5, false},
		"cut on the way":    {"hell", &pb.FinishResponse{Length: 5, Crc32: sum}, -1, false},
		"less than asked":   {"hello", &pb.FinishResponse{Length: 5, Crc32: sum}, 6, false},
		"more than asked":   {"hello", &pb.FinishResponse{Length: 5, Crc32: sum}, 4, false},
		"length made up":    {"hello", &pb.FinishResponse{Length: 6, Crc32: sum}, -1, false},
		"nothing, promised": {"", &pb.FinishResponse{Length: 5, Crc32: sum}, 5, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := lying(t, &liar{sends: c.sends, says: c.says})
			r, err := s.Get(t.Context(), "x", 0, c.length)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			b, err := io.ReadAll(r)
			if (err == nil) != c.ok {
				t.Errorf("got %q, %v; want success %v", b, err, c.ok)
			}
		})
	}
}
