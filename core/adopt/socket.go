package adopt

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/staging"
)

// Sockets returns the unix sockets on which the server that runs on the data directory
// listens; those for the X protocol come last. Source of the formats: proc(5).
func Sockets(dir string) ([]string, error) {
	pid := staging.InUse(dir)
	switch {
	case pid == 0:
		return nil, code.Hint(code.ServerGone, "start it: mysqld --datadir="+dir, "no server runs on %s", dir)
	case pid < 0:
		return nil, code.Hint(code.ServerGone, "name its socket instead", "a server runs on %s, but in another container", dir)
	}
	inodes, err := openSockets(pid)
	if err != nil {
		return nil, fmt.Errorf("find the socket of the server on %s: %w", dir, err)
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/net/unix", pid))
	if err != nil {
		return nil, fmt.Errorf("find the socket of the server on %s: %w", dir, err)
	}
	defer f.Close()
	var all []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if inode, path := listening(lines.Text()); inodes[inode] {
			all = append(all, absolute(pid, path))
		}
	}
	if len(all) == 0 {
		return nil, code.Hint(code.ServerGone, "start it with --socket=PATH", "the server on %s (pid %d) listens on no socket", dir, pid)
	}
	slices.SortStableFunc(all, func(a, b string) int { return strings.Count(a, "mysqlx") - strings.Count(b, "mysqlx") })
	return all, nil
}

// openSockets are the inodes of the sockets that a process has open.
func openSockets(pid int) (map[string]bool, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	inodes := map[string]bool{}
	for _, fd := range list {
		link, _ := os.Readlink(filepath.Join(dir, fd.Name())) // it may be closed by now
		if inode, ok := strings.CutPrefix(link, "socket:["); ok {
			inodes[strings.TrimSuffix(inode, "]")] = true
		}
	}
	return inodes, nil
}

// listening takes a line of /proc/PID/net/unix apart; both are "" if nobody can connect there.
//
//	Num       RefCount Protocol Flags    Type St Inode Path
//	00000000: 00000002 00000000 00010000 0001 01 12345 /run/mysqld/mysqld.sock
func listening(line string) (inode, path string) {
	const accepts = "00010000" // __SO_ACCEPTCON
	f := strings.Fields(line)
	if len(f) < 8 || f[3] != accepts || strings.HasPrefix(f[7], "@") {
		return "", ""
	}
	return f[6], line[strings.Index(line, f[7]):]
}

// absolute is the path as we reach it: the server's may be relative, and another file system.
func absolute(pid int, path string) string {
	if !filepath.IsAbs(path) {
		cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		if err != nil {
			return path
		}
		path = filepath.Join(cwd, path)
	}
	if within := fmt.Sprintf("/proc/%d/root%s", pid, path); !same("/", fmt.Sprintf("/proc/%d/root", pid)) {
		return within
	}
	return path
}

func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return true
	}
	y, err := os.Stat(b)
	return err != nil || os.SameFile(x, y)
}
