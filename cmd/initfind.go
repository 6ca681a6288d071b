package cmd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/version"
)

// foundServer is a server that answers.
type foundServer struct {
	socket  string
	version string // as it greets
	dataDir string // as its process was told; "" if it was not
	owner   owner  // of its socket: the user that it runs as
}

type owner struct{ uid, gid int }

// name is the user's, or its number.
func (o owner) name() string {
	if u, err := user.LookupId(strconv.Itoa(o.uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(o.uid)
}

func ownerOf(path string) (owner, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return owner{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return owner{int(st.Uid), int(st.Gid)}, nil
}

// findServer returns the one that listens on the socket, or the only one of this host.
func findServer(ctx context.Context, socket string) (foundServer, error) {
	running := runningServers("/proc")
	candidates := []string{socket}
	if socket == "" {
		candidates = []string{"/run/mysqld/mysqld.sock", "/var/lib/mysql/mysql.sock"}
		for _, r := range running {
			candidates = append(candidates, r.socket)
		}
	}
	var all []foundServer
	var first error
	for _, path := range candidates {
		f := foundServer{socket: path}
		var err error
		if f.version, err = greeting(ctx, path); err == nil {
			f.owner, err = ownerOf(path)
		}
		if err != nil {
			first = firstError(first, err)
			continue
		}
		for _, r := range running {
			if same(r.socket, path) {
				f.dataDir = r.dataDir
			}
		}
		if !slices.ContainsFunc(all, func(o foundServer) bool { return same(o.socket, path) }) {
			all = append(all, f)
		}
	}
	switch {
	case socket != "" && len(all) == 0:
		return foundServer{}, code.New(code.ServerGone, "ask the server for its version: %w", first)
	case len(all) == 0:
		return foundServer{}, code.Hint(code.ServerGone, "name the socket of the server: --socket", "no server answers on this host; looked at %s", strings.Join(candidates, ", "))
	case len(all) > 1:
		names := make([]string, len(all))
		for i, f := range all {
			names[i] = f.socket
		}
		return foundServer{}, code.Hint(code.Usage, "name one: --socket "+names[0], "%d servers answer on this host: %s", len(all), strings.Join(names, ", "))
	}
	v, err := version.Parse(all[0].version, "")
	if err == nil {
		err = v.Supported()
	}
	return all[0], code.Default(code.Version, err)
}

func firstError(first, err error) error {
	if first != nil {
		return first
	}
	return err
}

func same(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

// greeting is the version with which a server begins each connection, before it wants to know
// who is there (protocol of MySQL, HandshakeV10: a header of 4 bytes, 10, the version, 0).
func greeting(ctx context.Context, socket string) (string, error) {
	const within = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	head := make([]byte, 5)
	if _, err := io.ReadFull(conn, head); err != nil {
		return "", fmt.Errorf("%s: read the greeting: %w", socket, err)
	}
	rest := make([]byte, min(64, max(0, int(head[0])+int(head[1])<<8-1)))
	if _, err := io.ReadFull(conn, rest); err != nil {
		return "", fmt.Errorf("%s: read the greeting: %w", socket, err)
	}
	name, _, ok := bytes.Cut(rest, []byte{0})
	if head[4] != 10 || !ok {
		return "", fmt.Errorf("%s: what listens there does not greet as MySQL does", socket)
	}
	return string(name), nil
}

// runningServers are those whose processes were told their socket.
func runningServers(proc string) []foundServer {
	var all []foundServer
	processes, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "cmdline"))
	for _, p := range processes {
		text, err := os.ReadFile(p)
		if err != nil {
			continue // it has ended, or is not ours to see
		}
		args := strings.Split(string(text), "\x00")
		if !slices.ContainsFunc(args, func(arg string) bool { return filepath.Base(arg) == "mysqld" }) {
			continue
		}
		var f foundServer
		for _, arg := range args {
			if value, ok := strings.CutPrefix(arg, "--socket="); ok {
				f.socket = value
			}
			if value, ok := strings.CutPrefix(arg, "--datadir="); ok {
				f.dataDir = value
			}
		}
		if f.dataDir != "" && f.socket != "" && !filepath.IsAbs(f.socket) {
			f.socket = filepath.Join(f.dataDir, f.socket)
		}
		if f.socket != "" {
			all = append(all, f)
		}
	}
	return all
}
