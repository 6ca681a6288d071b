package cmd

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/server"
)

// greets listens as a server that says what it is and waits.
func greets(t *testing.T, name, says string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte(says))
			conn.Close()
		}
	}()
	return path
}

func TestAServerIsKnownByItsGreeting(t *testing.T) {
	for says, want := range map[string]string{
		"\x4a\x00\x00\x00\x0a8.4.3\x00" + strings.Repeat("x", 80): "8.4.3",
		"\x05\x00\x00\x00\x0a":  "EOF",
		"\x00\x00\x00\x00\x0a":  "does not greet",
		"":                      "EOF",
		"SSH-2.0-OpenSSH_9.7\n": "",
		"\x4a\x00\x00\x00\xff\x10\x04Too many connections" + strings.Repeat("x", 60): "does not greet",
	} {
		got, err := greeting(t.Context(), greets(t, "s.sock", says))
		if want == "8.4.3" && (err != nil || got != want) || want != "8.4.3" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: got %q, %v, want %q", says, got, err, want)
		}
	}
}

func TestServersAreFoundByTheirArguments(t *testing.T) {
	proc := t.TempDir()
	for pid, args := range map[string]string{
		"10": "/usr/sbin/mysqld\x00--datadir=/data\x00--socket=a.sock\x00", "11": "/usr/sbin/mysqld\x00--socket=/b.sock\x00",
		"12": "/bin/sh\x00--socket=/c.sock\x00", "13": "", "14": "ld.so\x00--library-path\x00/x\x00/opt/mysqld\x00--socket=/d.sock\x00", "15": "mysqld\x00",
	} {
		if err := os.MkdirAll(filepath.Join(proc, pid), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "cmdline"), []byte(args), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, s := range runningServers(proc) {
		got = append(got, s.socket+" "+s.dataDir)
	}
	if want := "/data/a.sock /data,/b.sock ,/d.sock "; strings.Join(got, ",") != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestTheAccountIsThatOfTheREADME: neither has a privilege that the other lacks.
func TestTheAccountIsThatOfTheREADME(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```sql\n")
	block, _, _ = strings.Cut(block, "```")
	if got, want := granted(strings.Join(server.Account("remora", "..."), ";\n")), granted(block); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// granted are the privileges of GRANT statements, one a line, in order.
func granted(statements string) string {
	var all []string
	for line := range strings.Lines(statements) {
		if rest, ok := strings.CutPrefix(line, "GRANT "); ok {
			list, on, _ := strings.Cut(rest, " ON ")
			on, _, _ = strings.Cut(on, " TO ")
			for _, privilege := range strings.Split(list, ", ") {
				all = append(all, privilege+" ON "+on)
			}
		}
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// TestTheFirstConfigurationIsRead with paths that a template could break on.
func TestTheFirstConfigurationIsRead(t *testing.T) {
	w := writing{setup: setup{storage: `/b "a\ckup"`, state: "/ü", user: "re'mora"}, path: "/etc/x", passwordFile: "/etc/p w", found: foundServer{socket: "/run/#s"}}
	for _, bin := range []string{"", "/usr/sbin/mysqld"} {
		w.mysqld = bin
		if _, err := w.text(); err != nil {
			t.Errorf("mysqld %q: %v", bin, err)
		}
	}
}

// TestWhatRootMakesIsTheServers: the sidecar runs as the user of the server and must be able to read it.
func TestWhatRootMakesIsTheServers(t *testing.T) {
	if os.Geteuid() != 0 {
		needs.Missing(t, "only root can give a file away")
	}
	top := t.TempDir()
	w := writing{setup: setup{storage: filepath.Join(top, "a", "store"), state: filepath.Join(top, "state")},
		path: filepath.Join(top, "etc", "remora.toml"), passwordFile: filepath.Join(top, "etc", "password"), found: foundServer{owner: owner{12345, 23456}}}
	if err := w.write("x"); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{w.path, w.passwordFile, w.storage, filepath.Dir(w.storage), w.state, filepath.Dir(w.path)} {
		if got, err := ownerOf(path); err != nil || got != w.found.owner {
			t.Errorf("%s: got %v, %v, want %v", path, got, err, w.found.owner)
		}
	}
	if got, err := ownerOf(top); err != nil || got.uid != 0 {
		t.Errorf("what was there was given away: %v, %v", got, err)
	}
	if err := w.write("y"); err == nil {
		t.Error("written over what is there")
	}
	w.force = true
	if err := w.write("y"); err != nil {
		t.Error(err)
	}
}
