package restore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/repo"
	"github.com/remora-backup/remora/core/restore"
	"github.com/remora-backup/remora/core/staging"
	"github.com/remora-backup/remora/core/syncpoint"
)

// refused runs a restore that must fail before it writes anything.
func refused(t *testing.T, cfg restore.Config, want code.Code, text string) error {
	t.Helper()
	before := listing(t, cfg.Target)
	seen, err := do(t, t.Context(), cfg)
	checkCode(t, err, want, text)
	if after := listing(t, cfg.Target); after != before {
		t.Errorf("the target changed: got\n%.2000s\nwant\n%.2000s", after, before)
	}
	if end := seen.Last(); end.Message != "Operation aborted" {
		t.Errorf("last message: got %q, want %q", end.Message, "Operation aborted")
	}
	return err
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(&b, name, info.Mode(), info.Size(), info.ModTime())
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return b.String()
}

// fakeServer is a mysqld that only tells its version.
func fakeServer(t *testing.T, banner string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mysqld")
	if err := os.WriteFile(path, []byte("#!/bin/sh\necho '"+banner+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRefuseVersion(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	for _, banner := range []string{
		"/x/mysqld  Ver 8.4.3 for Linux on x86_64 (MySQL Community Server - GPL)",
		"/x/mysqld  Ver 9.7.0 for Linux on x86_64 (MySQL Community Server - GPL)",
		"/x/mysqld  Ver 11.8.1-MariaDB for Linux on x86_64 ()",
	} {
		storage := f.storage()
		cfg := config(t, storage, filepath.Join(t.TempDir(), "new"))
		cfg.Mysqld = fakeServer(t, banner)
		err := refused(t, cfg, code.Version, f.manifest.Server.Version)
		if have := strings.Fields(banner)[2]; !strings.Contains(err.Error(), have) {
			t.Errorf("error %q does not name %s", err, have)
		}
		if hint := code.HintOf(err); !strings.Contains(hint, "[mysql] mysqld") {
			t.Errorf("hint: got %q, want the setting", hint)
		}
		if n := storage.packed.Load(); n != 0 {
			t.Errorf("bytes fetched before the refusal: got %d", n)
		}
	}
	cfg := config(t, f.storage(), t.TempDir())
	cfg.Mysqld = "/nonexistent/mysqld"
	refused(t, cfg, code.Usage, "mysqld")
}

func TestRefuseTarget(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	full := t.TempDir()
	if err := os.Mkdir(filepath.Join(full, "precious"), 0o700); err != nil {
		t.Fatal(err)
	}
	refused(t, config(t, f.storage(), full), code.Target, "precious")

	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, config(t, f.storage(), file), code.Target, "not a directory")
	refused(t, config(t, f.storage(), filepath.Join(t.TempDir(), "no", "parent")), code.Target, "parent")

	dangling := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/nonexistent", dangling); err != nil {
		t.Fatal(err)
	}
	refused(t, config(t, f.storage(), dangling), code.Target, "symbolic link")
}

// A server finds the tablespaces of all directories below its data.
func TestRefuseTargetInADataDirectory(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "mysql.ibd"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(data, "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	elsewhere := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join(data, "below"), elsewhere); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{filepath.Join(data, "below"), filepath.Join(data, "below", "new"), elsewhere} {
		refused(t, config(t, f.storage(), target), code.Target, "inside the data directory "+data)
	}
}

func TestRefuseTargetThatCannotBeWritten(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	const target = "/proc/sys" // not even root may write here
	refused(t, config(t, f.storage(), target+"/new"), code.Target, "write to "+target)
}

func TestRefuseTargetInUse(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	s := mysqldtest.Start(t)
	_, err := do(t, t.Context(), config(t, f.storage(), s.Dir))
	checkCode(t, err, code.Target, fmt.Sprintf("in use by process %d", s.Pid()))
	s.Exec("CREATE DATABASE alive")
}

// A leftover of another backup, and a file that appeared in the target, are not touched.
func TestRefuseOthersLeftover(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	cfg := config(t, f.storage(), t.TempDir())
	if _, err := doUntil(t, cfg, syncpoint.RestoreTargetReady); err == nil {
		t.Fatal("interrupted restore: got no error")
	}
	state := filepath.Join(cfg.Target, staging.Name, "state.json")
	b, err := os.ReadFile(state)
	if err != nil {
		t.Fatal(err)
	}
	foreign := filepath.Join(cfg.Target, "binlog.index")
	if err := os.WriteFile(foreign, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, cfg, code.Target, "binlog.index")
	if err := os.Remove(foreign); err != nil {
		t.Fatal(err)
	}
	other := bytes.Replace(b, []byte(f.manifest.ID), []byte("20250101T000000Z-0000"), 1)
	if err := os.WriteFile(state, other, 0o600); err != nil {
		t.Fatal(err)
	}
	err = refused(t, cfg, code.Target, "20250101T000000Z-0000")
	if hint := code.HintOf(err); !strings.Contains(hint, "--backup 20250101T000000Z-0000") {
		t.Errorf("hint: got %q", hint)
	}
}

func TestRefuseSecondRestore(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	cfg := config(t, f.storage(), t.TempDir())
	second := controller(func(ctx context.Context, p syncpoint.Point) error {
		if p != syncpoint.FetchDone {
			return nil
		}
		_, err := do(t, t.Context(), cfg)
		checkCode(t, err, code.Target, "another restore")
		return errors.New("seen enough")
	})
	if _, err := do(t, syncpoint.With(t.Context(), second), cfg); err == nil || !strings.Contains(err.Error(), "seen enough") {
		t.Errorf("first restore: got %v", err)
	}
}

type controller func(ctx context.Context, p syncpoint.Point) error

func (c controller) At(ctx context.Context, p syncpoint.Point) error { return c(ctx, p) }

func TestRefuseUnknownBackup(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	cfg := config(t, f.storage(), t.TempDir())
	cfg.BackupID = "20250101T000000Z-0000"
	refused(t, cfg, code.Usage, cfg.BackupID)
	for _, bad := range []restore.Config{{}, {Repo: cfg.Repo, BackupID: "x", Target: "y"}, {Repo: cfg.Repo, BackupID: repo.Latest}} {
		if _, err := restore.New(bad); err == nil {
			t.Errorf("New(%+v): got no error", bad)
		}
	}
}

// objects returns one name of each kind of object; the first pack has mostly files that
// are left out.
func objects(f *fixture) []string {
	dir := "backups/" + f.manifest.ID + "/"
	return []string{"remora.json", dir + "manifest.json", dir + "files", dir + "index-000001", dir + "pack-000002", fmt.Sprintf("%spack-%06d", dir, f.manifest.Packs.Count)}
}

// A missing or cut object is found before anything is written.
func TestRefuseMissingObject(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	for _, name := range objects(f)[2:] {
		storage := f.storage()
		storage.Remove(name)
		refused(t, config(t, storage, filepath.Join(t.TempDir(), "new")), code.Integrity, name)

		storage = f.storage()
		b := storage.Bytes(name)
		storage.Set(name, b[:len(b)-1])
		refused(t, config(t, storage, filepath.Join(t.TempDir(), "new")), code.Integrity, name)
		if n := storage.packed.Load(); n != 0 {
			t.Errorf("bytes of packs fetched: got %d", n)
		}
	}
}

// A flipped byte in any kind of object fails the restore and leaves nothing startable.
func TestFlippedByte(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	for _, name := range objects(f) {
		storage := f.storage()
		b := bytes.Clone(storage.Bytes(name))
		b[len(b)/2] ^= 1
		storage.Set(name, b)
		r, err := repo.Open(t.Context(), storage)
		if err != nil { // remora.json itself
			checkCode(t, err, code.Integrity, name)
			continue
		}
		cfg := config(t, f.storage(), filepath.Join(t.TempDir(), "new"))
		cfg.Repo = r
		if !strings.Contains(name, "pack-") {
			refused(t, cfg, code.Integrity, name)
			continue
		}
		seen, err := do(t, t.Context(), cfg)
		checkCode(t, err, code.Integrity, name)
		if end := seen.Last(); !strings.HasPrefix(end.Message, "Operation aborted. Incomplete files in") {
			t.Errorf("last message: got %q", end.Message)
		}
		unstartable(t, cfg.Target)
	}
}

// A server that cannot begin, as one that is confined to other directories, is found before a
// byte is fetched for it; one that could, and then cannot, leaves what it said.
func TestServerThatCannotPrepare(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	script := "#!/bin/sh\nfor a; do case $a in\n--version) echo '/x/mysqld  Ver " + f.manifest.Server.Version + " for Linux on x86_64 (X)'; exit;;\n" +
		"--validate-config) exit 0;;\n%sesac; done\necho Permission denied; exit 1\n"
	cfg := config(t, f.storage(), filepath.Join(t.TempDir(), "new"))
	cfg.Mysqld = filepath.Join(t.TempDir(), "mysqld")
	write := func(more string) {
		if err := os.WriteFile(cfg.Mysqld, fmt.Appendf(nil, script, more), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	storage := f.storage()
	confined := config(t, storage, cfg.Target)
	confined.Mysqld = cfg.Mysqld
	_, err := do(t, t.Context(), confined)
	checkCode(t, err, code.Target, "Permission denied")
	if hint := code.HintOf(err); !strings.Contains(hint, "AppArmor") {
		t.Errorf("hint: got %q", hint)
	}
	if n := storage.packed.Load(); n != 0 {
		t.Errorf("bytes fetched before the trial: got %d", n)
	}
	write("--initialize-insecure) echo '2026-11-20T22:15:00.000000Z 1 [System] [MY-013577] [InnoDB] InnoDB initialization has ended.'; exit 0;;\n")
	_, err = do(t, t.Context(), cfg)
	checkCode(t, err, code.Unclassified, "exit status 1")
	log := filepath.Join(cfg.Target, staging.Name, "prepare.log")
	if hint := code.HintOf(err); !strings.Contains(hint, log) {
		t.Errorf("hint: got %q, want %s in it", hint, log)
	}
	if text, err := os.ReadFile(log); err != nil || !strings.Contains(string(text), "Permission denied") {
		t.Errorf("log of the server: got %q, %v", text, err)
	}
}

// A server that says it has recovered all, and by its own answers has not, is not believed.
func TestServerWhoseAnswersDiffer(t *testing.T) {
	needs.Server(t)
	f := sharedFixture(t)
	cfg := config(t, f.storage(), filepath.Join(t.TempDir(), "new"))
	cfg.Mysqld = filepath.Join(t.TempDir(), "mysqld")
	const note = "echo '2026-11-20T22:15:00.000000Z 0 [Note] [%s] [InnoDB] %s'\n"
	lsn := f.manifest.LSN
	script := "#!/bin/sh\ntrap '' TERM\nfor a; do case $a in\n--version) echo '/x/mysqld  Ver " + f.manifest.Server.Version + " for Linux on x86_64 (X)'; exit;;\n" +
		"--validate-config) exit;;\n--initialize-insecure) " + fmt.Sprintf(note, "MY-013577", "InnoDB initialization has ended.") + "exit;;\n" +
		"--secure-file-priv=*) cd \"${a#*=}\";;\nesac; done\n: >tablespaces; echo %X >gtid_executed\n" +
		fmt.Sprintf(note, "MY-013883", fmt.Sprintf("The latest found checkpoint is at lsn = %d in redo log file x.", lsn.Checkpoint)) +
		fmt.Sprintf(note, "MY-012550", fmt.Sprintf("Doing recovery: scanned up to log sequence number %d", lsn.End)) +
		fmt.Sprintf(note, "MY-010138", "Execution of init_file ended.") +
		fmt.Sprintf(note, "MY-012980", fmt.Sprintf("Shutdown completed; log sequence number %d", lsn.End))
	for gtids, fault := range map[string]string{"": "gtid_executed", f.manifest.GTIDExecuted: "not known to it"} {
		if err := os.WriteFile(cfg.Mysqld, fmt.Appendf(nil, script, gtids), 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := do(t, t.Context(), cfg)
		checkCode(t, err, code.Integrity, fault)
		unstartable(t, cfg.Target)
	}
}
