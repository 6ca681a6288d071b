package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/plug/plugtest"
	"github.com/remora-backup/remora/plugins/internal/wire"
	pb "github.com/remora-backup/remora/plugins/proto/v1"
)

// server serves a storage in memory; its sockets are in the returned directory.
func server(t *testing.T) (*storageServer, *plugtest.Memory, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sdk") // t.TempDir is too long for a socket's name
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	t.Setenv(wire.SocketDirEnv, dir)
	m := &plugtest.Memory{}
	s := &storageServer{
		opener: func(json.RawMessage) (plug.Storage, error) { return m, nil },
		up:     map[string]*upload{}, down: map[string]*download{},
	}
	if _, err := s.open(nil, nil); err != nil {
		t.Fatal(err)
	}
	return s, m, dir
}

// send begins an upload and sends bytes, with or without their end.
func send(t *testing.T, s *storageServer, dir, bytes string) (string, *net.UnixConn) {
	t.Helper()
	up, err := s.Put(t.Context(), &pb.PutRequest{Name: "x"})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Net: "unix", Name: filepath.Join(dir, up.Socket)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := conn.Write([]byte(bytes)); err != nil {
		t.Fatal(err)
	}
	return up.UploadId, conn
}

func TestCommitComparesWhatCame(t *testing.T) {
	sum := crc32.ChecksumIEEE([]byte("hello"))
	for name, c := range map[string]struct {
		length int64
		crc    uint32
		ok     bool
	}{
		"right":     {5, sum, true},
		"too short": {6, sum, false},
		"other CRC": {5, sum + 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, m, dir := server(t)
			id, conn := send(t, s, dir, "hello")
			if err := conn.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			_, err := s.Commit(t.Context(), &pb.CommitRequest{UploadId: id, Length: c.length, Crc32: c.crc})
			_, stat := m.Stat(t.Context(), "x")
			if (err == nil) != c.ok || (stat == nil) != c.ok {
				t.Errorf("commit: %v, stat: %v; want success %v", err, stat, c.ok)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("socket left: %v", left)
			}
		})
	}
}

// TestEndOfStreamIsNoCommit: a host that dies closes its connection too.
func TestEndOfStreamIsNoCommit(t *testing.T) {
	s, m, dir := server(t)
	id, conn := send(t, s, dir, "hello")
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Abort(t.Context(), &pb.AbortRequest{UploadId: id}); err != nil {
		t.Errorf("abort: %v", err)
	}
	if _, err := m.Stat(t.Context(), "x"); !errors.Is(err, plug.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
	if _, err := s.Commit(t.Context(), &pb.CommitRequest{UploadId: id}); !errors.Is(wire.FromStatus(err), plug.ErrNotExist) {
		t.Errorf("commit after abort: got %v, want ErrNotExist", err)
	}
}

func TestFinishTellsWhatWasSent(t *testing.T) {
	s, m, dir := server(t)
	id, conn := send(t, s, dir, "hello")
	_ = conn.CloseWrite()
	if _, err := s.Commit(t.Context(), &pb.CommitRequest{UploadId: id, Length: 5, Crc32: crc32.ChecksumIEEE([]byte("hello"))}); err != nil {
		t.Fatal(err)
	}
	get := func() (string, *pb.FinishResponse, error) {
		down, err := s.Get(t.Context(), &pb.GetRequest{Name: "x", Offset: 1, Length: 3})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("unix", filepath.Join(dir, down.Socket))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		b, _ := io.ReadAll(conn)
		f, err := s.Finish(t.Context(), &pb.FinishRequest{DownloadId: down.DownloadId})
		return string(b), f, err
	}
	if b, f, err := get(); err != nil || b != "ell" || f.Length != 3 || f.Crc32 != crc32.ChecksumIEEE([]byte("ell")) {
		t.Errorf("got %q, %v, %v", b, f, err)
	}
	m.Break(plugtest.Fault{Op: "get", Damage: plugtest.Short, After: 2})
	if b, f, err := get(); err == nil {
		t.Errorf("a short object: got %q, %v and no error", b, f)
	}
}

// TestNobodyComes: a put or get that was cancelled before its id arrived is forgotten, and
// with it its socket.
func TestNobodyComes(t *testing.T) {
	s, m, dir := server(t)
	if _, err := m.Put(t.Context(), "x", strings.NewReader("hello")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Put(ctx, &pb.PutRequest{Name: "y"}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Get(ctx, &pb.GetRequest{Name: "x", Length: -1}); err != nil {
		t.Fatal(err)
	}
	kept := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.up) + len(s.down)
	}
	for end := time.Now().Add(20 * time.Second); kept() > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d transfers are kept", kept())
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("sockets left: %v, %v", left, err)
	}
	if _, err := s.Abort(t.Context(), &pb.AbortRequest{UploadId: "1"}); !errors.Is(wire.FromStatus(err), plug.ErrNotExist) {
		t.Errorf("abort: got %v, want ErrNotExist", err)
	}
}
