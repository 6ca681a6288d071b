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
}

func (l *liar) Get(context.Context, *pb.GetRequest, ...grpc.CallOption) (*pb.GetResponse, error) {
	if err := serveOnce(l.dir, func(conn net.Conn) { _, _ = io.WriteString(conn, l.sends) }); err != nil {
		return nil, err
	}
	return &pb.GetResponse{DownloadId: "1", Socket: "s"}, nil
}

func (l *liar) Finish(context.Context, *pb.FinishRequest, ...grpc.CallOption) (*pb.FinishResponse, error) {
	return l.says, nil
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
			dir, err := os.MkdirTemp("", "liar")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			p := &Plugin{opts: Options{}.withDefaults(), proc: newProcess(&exec.Cmd{}, newLogs(hclog.NewNullLogger()))}
			p.proc.socketDir = dir
			s := &storage{p: p, c: &liar{dir: dir, sends: c.sends, says: c.says}}
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
