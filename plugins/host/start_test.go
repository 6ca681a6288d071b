package host

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
)

func TestWillNotStart(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(filepath.Dir(os.Args[0]), link); err != nil {
		t.Fatal(err)
	}
	open := copyOfMe(t, t.TempDir())
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	mine := copyOfMe(t, t.TempDir())
	openDir := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(openDir, 0o700); err != nil {
		t.Fatal(err)
	}
	inOpenDir := copyOfMe(t, openDir)
	if err := os.Chmod(openDir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		spec Spec
		want code.Code
		says string
	}{
		"garbage":         {Spec{Name: "garbage"}, code.Plugin, `it wrote "Hello, world" on its standard output`},
		"endless line":    {Spec{Name: "endless"}, code.Plugin, "it wrote \"xxxx"},
		"hang":            {Spec{Name: "hang"}, code.Plugin, "no answer within 1s to its start: the line of the handshake did not come"},
		"other protocol":  {Spec{Name: "oldprotocol"}, code.Plugin, "it wrote \"1|99|"},
		"socket outside":  {Spec{Name: "elsewhere"}, code.Plugin, "is not in"},
		"dies":            {Spec{Name: "dies"}, code.Plugin, "exited: status 7; its last words: cannot find the moon"},
		"unknown":         {Spec{Name: "s3"}, code.Plugin, `unknown storage plugin "s3"; known: fs, odd`},
		"relative":        {Spec{Name: "./fs"}, code.Plugin, "not a clean absolute path"},
		"missing":         {Spec{Name: "/no/such/file"}, code.Plugin, "no such file"},
		"through a link":  {Spec{Name: filepath.Join(link, filepath.Base(os.Args[0]))}, code.Plugin, "symbolic link"},
		"open to all":     {Spec{Name: open}, code.Plugin, "can be written by others"},
		"in an open dir":  {Spec{Name: inOpenDir}, code.Plugin, "can be written by others"},
		"wrong kind":      {Spec{Name: mine, Args: []string{"plugin", Lock, "lock"}}, code.Plugin, `it is a "lock" plugin, not a storage plugin`},
		"unknown key":     {Spec{Name: "fs", Config: json.RawMessage(`{"pth":"/x"}`)}, code.Usage, `unknown key "pth", did you mean "path"?`},
		"wrong type":      {Spec{Name: "fs", Config: json.RawMessage(`{"path":7}`)}, code.Usage, `key "path" cannot be a number`},
		"not a directory": {Spec{Name: "fs", Config: json.RawMessage(`{"path":"/dev/null"}`)}, code.Usage, "is not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			opts := options(t)
			opts.Start = time.Second
			if c.want == code.Usage || name == "dies" || name == "wrong kind" {
				opts.Start = 20 * time.Second // not what is tested
			}
			if c.spec.Kind == "" {
				c.spec.Kind = Storage
			}
			p, err := Start(t.Context(), c.spec, opts)
			if err == nil {
				_ = p.Close(t.Context())
				t.Fatal("it started")
			}
			if got := code.Of(err); got != c.want || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got code %d, %q; want %d and %q", got, err, c.want, c.says)
			}
			if left, _ := filepath.Glob(filepath.Join(opts.Dir, "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// A script that cannot be executed is told what it lacks.
func TestNotExecuted(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		hint string
	}{
		"no x":                 {"#!/bin/sh\n", 0o644, "chmod +x /"},
		"no interpreter":       {"#!/no/such/python\n", 0o755, "that is not there"},
		"no interpreter named": {"import grpc\n", 0o755, "#!/usr/bin/python3"},
	} {
		path := filepath.Join(t.TempDir(), "plugin")
		if err := os.WriteFile(path, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		_, err := Start(t.Context(), Spec{Kind: Storage, Name: path}, options(t))
		if code.Of(err) != code.Plugin || !strings.Contains(code.HintOf(err), c.hint) {
			t.Errorf("%s: got %v (code %d), hint %q; want %q", name, err, code.Of(err), code.HintOf(err), c.hint)
		}
	}
}

// copyOfMe puts a copy of the test's executable where nobody else can write.
func copyOfMe(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "me")
	if err := os.WriteFile(path, b, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDigest(t *testing.T) {
	path := copyOfMe(t, t.TempDir())
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(b)
	spec := Spec{Kind: Storage, Name: path, Args: []string{"plugin", Storage, "odd"}, SHA256: hex.EncodeToString(digest[:])}
	p := start(t, spec, options(t))
	if _, err := p.Storage().Stat(t.Context(), "x"); !errors.Is(err, plug.ErrNotExist) {
		t.Errorf("got %v, want ErrNotExist", err)
	}
	spec.SHA256 = strings.Repeat("0", 64)
	if _, err := Start(t.Context(), spec, options(t)); code.Of(err) != code.Plugin || !strings.Contains(err.Error(), "its SHA-256 is") {
		t.Errorf("wrong digest: got %v", err)
	}
}

func TestEnvironmentIsNotInherited(t *testing.T) {
	t.Setenv("REMORA_TEST_SECRET", "secret")
	t.Setenv("REMORA_TEST_PASSED", "passed")
	spec := oddSpec(t, nil)
	spec.EnvPass = []string{"REMORA_TEST_PASSED"}
	p := start(t, spec, options(t))
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", p.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	env := string(b)
	if strings.Contains(env, "REMORA_TEST_SECRET") || strings.Contains(env, "\x00PATH=") || !strings.Contains(env, "REMORA_TEST_PASSED=passed") {
		t.Errorf("environment: %q", env)
	}
}
