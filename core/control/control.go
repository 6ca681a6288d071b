// Package control lets the people of this host see and cancel the operation that runs.
//
// The operation serves HTTP on a unix socket in its state directory that only its owner,
// and root, can open:
//
//	GET  /status           200, a Status
//	POST /cancel[?id=ID]   200, a Status: it ends soon, now or because of an earlier cancel
//	                       404 if another operation runs, 409 if this one has ended already
//
// Errors are {"error": "..."}. Nothing here waits for the operation.
package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The sockets in the state directory.
const (
	SocketName = "remora.sock"        // of the sidecar, or of the operation that runs without one
	BesideName = "remora.beside.sock" // of an operation that runs beside a sidecar, which is not its
)

// Status is what a running operation says of itself.
type Status struct {
	Operation     string    `json:"operation"`
	ID            string    `json:"id"`
	PID           int       `json:"pid"`
	Started       time.Time `json:"started"`
	State         string    `json:"state"` // "running", "cancelling", then how it ended
	Phase         string    `json:"phase,omitempty"`
	Percent       *int      `json:"percent,omitempty"`
	Bytes         int64     `json:"bytes,omitempty"` // moved in this phase
	TotalBytes    int64     `json:"total_bytes,omitempty"`
	ETASeconds    float64   `json:"eta_seconds,omitempty"`
	Databases     []string  `json:"databases,omitempty"`
	Target        string    `json:"target,omitempty"`
	InterruptedBy string    `json:"interrupted_by,omitempty"`
}

// Operation is what is controlled. Its methods return at once and may be called from any
// goroutine.
type Operation interface {
	Status() Status
	// Cancel interrupts the operation in the name of by; it reports false if it has ended.
	Cancel(by string) bool
}

// Server serves one operation.
type Server struct {
	listener net.Listener
	http     *http.Server
	done     chan struct{}
}

// Listen makes the socket of that name in dir and serves it until Close. Who calls it holds the
// lock file of dir: a socket that is there is a dead process's and is replaced.
func Listen(dir, name string, o Operation) (*Server, error) {
	l, err := Socket(dir, name)
	if err != nil {
		return nil, err
	}
	s := &Server{listener: l, done: make(chan struct{})}
	s.http = &http.Server{
		Handler: handler(o), ConnContext: withPeer, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second, MaxHeaderBytes: 16 << 10,
	}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l) // ends with Close
	}()
	return s, nil
}

// Socket makes a socket of that name in dir that only its owner can open. The caller is the
// only one who may make it: one that is there is replaced.
func Socket(dir, name string) (net.Listener, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("listen for orders: %w", err)
	}
	if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.Close()
		return nil, fmt.Errorf("listen for orders: %w", err)
	}
	l, err := listen(d, name)
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("listen for orders: %w", err)
	}
	return &socket{l, d}, nil
}

// socket is a listener with the directory that keeps its short name valid.
type socket struct {
	net.Listener
	dir *os.File
}

// Close removes the socket, too.
func (s *socket) Close() error { return errors.Join(s.Listener.Close(), s.dir.Close()) }

// listen binds by way of the directory's descriptor: a socket's name has at most 107 bytes. The
// mode is given to the socket before it has a name: nobody else can connect at any moment, and
// the umask, which is the whole process's, stays as it is. Source: unix(7), Linux's unix_bind.
func listen(dir *os.File, name string) (net.Listener, error) {
	private := func(_, _ string, c syscall.RawConn) error {
		var failed error
		err := c.Control(func(fd uintptr) { failed = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, failed)
	}
	l := net.ListenConfig{Control: private}
	return l.Listen(context.Background(), "unix", short(dir, name))
}

func short(dir *os.File, name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), name)
}

// Close ends all connections and removes the socket.
func (s *Server) Close() error {
	err := s.http.Close() // and with it the listener
	<-s.done
	return err
}

type peerKey struct{}

// withPeer notes who is at the other end.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, peer(c))
}

// peerName is the name of the user at the other end of the connection of that context.
func peerName(ctx context.Context) string {
	name, _ := ctx.Value(peerKey{}).(string)
	return name
}

func peer(c net.Conn) string {
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return "unknown"
	}
	name := "unknown"
	_ = raw.Control(func(fd uintptr) { // an error leaves the name unknown
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		if err != nil {
			return
		}
		name = strconv.Itoa(int(cred.Uid))
		if u, err := user.LookupId(name); err == nil {
			name = u.Username
		}
	})
	return name
}

func handler(o Operation) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, o.Status()) })
	mux.HandleFunc("POST /cancel", func(w http.ResponseWriter, r *http.Request) {
		id, now := r.URL.Query().Get("id"), o.Status()
		if id != "" && id != now.ID {
			refuse(w, http.StatusNotFound, "operation %s does not run; %s %s does", id, now.Operation, now.ID)
			return
		}
		by := peerName(r.Context())
		if !o.Cancel("api:" + by) {
			refuse(w, http.StatusConflict, "%s %s has ended already", now.Operation, now.ID)
			return
		}
		answer(w, http.StatusOK, o.Status())
	})
	return mux
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who asked may be gone
}

func refuse(w http.ResponseWriter, status int, format string, args ...any) {
	answer(w, status, map[string]string{"error": fmt.Sprintf(format, args...)})
}
