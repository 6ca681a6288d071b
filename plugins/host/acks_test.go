package host

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/remora-backup/remora/core/code"
	pb "github.com/remora-backup/remora/plugins/proto/v1"
)

// acker takes what is uploaded and leaves the acknowledgement to a server that answers the
// commit with any number of messages.
type acker struct {
	pb.StorageClient
	dir string
}

func (a *acker) Put(context.Context, *pb.PutRequest, ...grpc.CallOption) (*pb.PutResponse, error) {
	if err := serveOnce(a.dir, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }); err != nil {
		return nil, err
	}
	return &pb.PutResponse{UploadId: "1", Socket: "s"}, nil
}

// TestAcknowledgementsC8: an object is stored if one acknowledgement says so, of that object.
// Late ones are hangs.
func TestAcknowledgementsC8(t *testing.T) {
	good := &pb.CommitResponse{Object: &pb.Object{Name: "x", Size: 5}}
	for name, c := range map[string]struct {
		acks []*pb.CommitResponse
		ok   bool
	}{
		"one":           {[]*pb.CommitResponse{good}, true},
		"none":          {nil, false},
		"two":           {[]*pb.CommitResponse{good, good}, false},
		"empty":         {[]*pb.CommitResponse{{}}, false},
		"another's":     {[]*pb.CommitResponse{{Object: &pb.Object{Name: "y", Size: 5}}}, false},
		"of less":       {[]*pb.CommitResponse{{Object: &pb.Object{Name: "x", Size: 4}}}, false},
		"of more":       {[]*pb.CommitResponse{{Object: &pb.Object{Name: "x", Size: 6}}}, false},
		"another first": {[]*pb.CommitResponse{{Object: &pb.Object{Name: "y", Size: 5}}, good}, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "acker")
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(dir)
			l, err := net.Listen("unix", filepath.Join(dir, "grpc"))
			if err != nil {
				t.Fatal(err)
			}
			server := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, s grpc.ServerStream) error {
				if err := s.RecvMsg(&pb.CommitRequest{}); err != nil {
					return err
				}
				for _, ack := range c.acks {
					if err := s.SendMsg(ack); err != nil {
						return err
					}
				}
				return nil
			}))
			go func() { _ = server.Serve(l) }()
			defer server.Stop()
			conn, err := grpc.NewClient("unix:"+filepath.Join(dir, "grpc"), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			p := &Plugin{opts: Options{}.withDefaults(), proc: newProcess(&exec.Cmd{}, newLogs(hclog.NewNullLogger()))}
			p.proc.socketDir = dir
			s := &storage{p: p, c: &acker{pb.NewStorageClient(conn), dir}}
			obj, err := s.Put(t.Context(), "x", strings.NewReader("hello"))
			if (err == nil) != c.ok || err == nil && (obj.Name != "x" || obj.Size != 5) || err != nil && code.Of(err) != code.Storage {
				t.Errorf("got %+v, %v (code %d); want success %v, or code %d", obj, err, code.Of(err), c.ok, code.Storage)
			}
		})
	}
}
