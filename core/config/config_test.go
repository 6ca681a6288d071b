package config

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/needs"
	"github.com/remora-backup/remora/core/schedule"
)

const whole = `
[mysql]
socket = "/run/mysqld/mysqld.sock"
user = "remora"
password_file = "/etc/remora/password"
mysqld = "/usr/sbin/mysqld"
mysqld_args = ["--no-defaults", "--lc-messages-dir=/usr/share/mysql"]

[state]
dir = "/var/lib/remora"

[storage]
plugin = "/opt/remora/store"
sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
mtls = "off"
env_pass = ["TOKEN"]
[storage.config]
path = "/var/backups/mysql"
deep = { n = 1, list = [true] }

[[notify]]
plugin = "webhook"
[notify.config]
url = "http://a"

[[notify]]
plugin = "log"

[hooks]
scripts = ["/etc/remora/alert.lua"]
timeout = "2s"
on_error = "ignore"

[backup]
compression = "none"
parallel = 3
lock_patience = "1m"

[storage.timeouts]
abort = "90s"
stall = "3m"

[schedule]
backup = "CRON_TZ=Europe/Berlin 15 2 * * *"
spread = "0s"
catch_up = false
`

func TestParseReadsEverySetting(t *testing.T) {
	s, err := Parse("f.toml", whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"socket", s.MySQL.Socket, "/run/mysqld/mysqld.sock"},
		{"mysqld_args", strings.Join(s.MySQL.MysqldArgs, " "), "--no-defaults --lc-messages-dir=/usr/share/mysql"},
		{"storage plugin", s.Storage.Plugin, "/opt/remora/store"},
		{"storage mtls", s.Storage.MTLS, "off"},
		{"storage config", string(s.Storage.Config), `{"deep":{"list":[true],"n":1},"path":"/var/backups/mysql"}`},
		{"storage timeouts", s.Storage.Timeouts, Timeouts{Abort: 90 * time.Second, Stall: 3 * time.Minute}},
		{"lock plugin by default", s.Lock.Plugin, "mysql"},
		{"lock config by default", string(s.Lock.Config), "{}"},
		{"lock mtls by default", s.Lock.MTLS, "auto"},
		{"notify", len(s.Notify), 2},
		{"notify config", string(s.Notify[0].Config), `{"url":"http://a"}`},
		{"second notify config", string(s.Notify[1].Config), "{}"},
		{"hooks timeout", s.Hooks.Timeout, 2 * time.Second},
		{"hooks on_error", s.Hooks.OnError, "ignore"},
		{"compression", s.Backup.Compression, "none"},
		{"parallel", s.Backup.Parallel, 3},
		{"lock wait", s.Backup.LockPatience, time.Minute},
		{"schedule", s.Schedule, schedule.Settings{Backup: "CRON_TZ=Europe/Berlin 15 2 * * *", On: "any", Fallback: 26 * time.Hour}},
		{"log level by default", s.Log.Level, "info"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestParseNamesThePlaceOfAnError(t *testing.T) {
	const storage = "\n[storage]\nplugin = \"fs\"\n"
	for _, c := range []struct{ name, text, want, hint string }{
		{"unknown key", "[mysql]\nuser = \"a\"\nsokcet = \"/x\"" + storage, `f.toml:3: unknown key [mysql] sokcet, did you mean "socket"?`, "known here: host, "},
		{"unknown key far from all", "[mysql]\nfrobnicate = 1" + storage, "f.toml:2: unknown key [mysql] frobnicate", ""},
		{"unknown table", "[storag]\nplugin = \"fs\"", `f.toml:1: unknown key storag, did you mean "storage"?`, ""},
		{"unknown key in an array of tables", "[[notify]]\nplugin = \"log\"\n[[notify]]\nplugin = \"log\"\nconfg = {}" + storage, `f.toml:5: unknown key [notify] confg, did you mean "config"?`, ""},
		{"key after a string of several lines", "[mysql]\nuser = '''\nport = 1\n'''\nport = \"x\"" + storage, `f.toml:5: [mysql] port: want an integer, have the string "x"`, ""},
		{"dotted key", "mysql.port = true" + storage, "f.toml:1: [mysql] port: want an integer, have true", ""},
		{"quoted key", "[\"mysql\"]\n'port' = 1.5" + storage, "f.toml:2: [mysql] port: want an integer, have 1.5", ""},
		{"inline table", "mysql = { port = \"x\" }" + storage, `f.toml:1: [mysql] port: want an integer, have the string "x"`, ""},
		{"string wanted", "[mysql]\nuser = 7" + storage, "f.toml:2: [mysql] user: want a string, have 7", ""},
		{"table wanted", "mysql = 7" + storage, "f.toml:1: mysql: want a table, have 7", ""},
		{"raw part is no table", storage + "config = \"x\"", `f.toml:4: [storage] config: want a table, have the string "x"`, ""},
		{"array wanted", "[hooks]\nscripts = \"a\"" + storage, `f.toml:2: [hooks] scripts: want an array of strings, have the string "a"`, ""},
		{"array of wrong things", "[hooks]\nscripts = [1]" + storage, "f.toml:2: [hooks] scripts: want an array of strings, have 1 in it", ""},
		{"notify written as one table", "[notify]\nplugin = \"log\"" + storage, "f.toml:1: notify: want an array of tables, written [[notify]], have a table", ""},
		{"duration as a number", "[hooks]\ntimeout = 5" + storage, `f.toml:2: [hooks] timeout: want a duration such as "30s" or "2m", have 5`, ""},
		{"duration without unit", "[hooks]\ntimeout = \"5\"" + storage, `f.toml:2: [hooks] timeout: want a duration such as "30s" or "2m", have "5"`, ""},
		{"negative duration", "[hooks]\ntimeout = \"-5s\"" + storage, `f.toml:2: [hooks] timeout: want a duration such as "30s" or "2m", have "-5s"`, ""},
		{"number out of range", "[mysql]\nport = 70000" + storage, "f.toml:2: [mysql] port: want 1 to 65535", ""},
		{"negative number", "[backup]\nparallel = -1" + storage, "f.toml:2: [backup] parallel: -1 is out of range", ""},
		{"syntax", "[mysql]\nuser = ", "f.toml:2: ", ""},
		{"twice", "[mysql]\nuser = \"a\"\nuser = \"b\"", "f.toml:3: mysql.user was set before, on line 2: keep one of them", ""},
		{"table twice", "[mysql]\nuser = \"a\"\n[log]\n[mysql]\nport = 1", "f.toml:4: mysql was set before, on line 1: keep one of them", ""},
		{"twice, two ways", "mysql.user = \"a\"\n[mysql]\n\"user\" = \"b\"", "f.toml:3: mysql.user was set before, on line 1: keep one of them", ""},
		{"twice on a line", "mysql = {user = \"a\", user = \"b\"}", "f.toml:1: mysql.user was set before: keep one of them", ""},
		{"twice in an array", "[[notify]]\nplugin = \"log\"\nplugin = \"log\"", "f.toml:3: notify.plugin was set before: keep one of them", ""},
		{"socket and host", "[mysql]\nsocket = \"/a\"\nhost = \"b\"" + storage, "f.toml:3: [mysql] has both socket and host", "keep one"},
		{"relative path", "[state]\ndir = \"a\"" + storage, `f.toml:2: [state] dir: want an absolute path, have "a"`, ""},
		{"storage missing", "[mysql]\nuser = \"a\"", "f.toml: [storage] plugin is missing", `[storage] plugin = "fs"`},
		{"plugin by a relative path", "[storage]\nplugin = \"./fs\"", `f.toml:2: [storage] plugin: want a built-in name or an absolute path, have "./fs"`, ""},
		{"digest of a wrong length", "[storage]\nplugin = \"/fs\"\nsha256 = \"ab\"", "f.toml:3: [storage] sha256: want 64 hex digits", "sha256sum /fs"},
		{"digest of a built-in", "[storage]\nplugin = \"fs\"\nsha256 = \"" + strings.Repeat("0", 64) + "\"", "f.toml:3: [storage] sha256 is for plugins named by their path", ""},
		{"mtls", "[storage]\nplugin = \"fs\"\nmtls = \"no\"", `f.toml:3: [storage] mtls: want one of auto, off, have "no"`, ""},
		{"tls", "[mysql]\ntls = \"true\"" + storage, `f.toml:2: [mysql] tls: want one of off, skip-verify, verify, have "true"`, ""},
		{"compression", "[backup]\ncompression = \"gzip\"" + storage, `f.toml:2: [backup] compression: want one of zstd, none, have "gzip"`, ""},
		{"on_error", "[hooks]\non_error = \"warn\"" + storage, `f.toml:2: [hooks] on_error: want one of fail, ignore, have "warn"`, ""},
		{"cron line", "[schedule]\nbackup = \"61 2 * * *\"" + storage, "f.toml:2: [schedule] backup: end of range (61) above maximum (59)", `"CRON_TZ=Europe/Berlin 15 2 * * *"`},
		{"cron line of too few fields", "[schedule]\nverify = \"2 * *\"" + storage, "f.toml:2: [schedule] verify: expected exactly 5 fields", ""},
		{"day that never comes", "[schedule]\nbackup = \"0 0 30 2 *\"" + storage, "f.toml:2: [schedule] backup: no such day ever comes", ""},
		{"time zone", "[schedule]\nbackup = \"CRON_TZ=Mars/North 15 2 * * *\"" + storage, `f.toml:2: [schedule] backup: no time zone "Mars/North" is known`, ""},
		{"no time zone", "[schedule]\nbackup = \"CRON_TZ= 15 2 * * *\"" + storage, "f.toml:2: [schedule] backup: want a time zone by name", ""},
		{"time zone and nothing else", "[schedule]\nbackup = \"CRON_TZ=UTC\"" + storage, "f.toml:2: [schedule] backup: ", ""},
		{"two time zones", "[schedule]\nbackup = \"TZ=UTC CRON_TZ=UTC 15 2 * * *\"" + storage, "f.toml:2: [schedule] backup: two time zones", ""},
		{"interval", "[schedule]\nbackup = \"@every 1h\"" + storage, "f.toml:2: [schedule] backup: @every depends on", ""},
		{"on", "[schedule]\non = \"slave\"" + storage, `f.toml:2: [schedule] on: want one of replica, primary, any, have "slave"`, ""},
		{"spread", "[schedule]\nspread = \"25h\"" + storage, "f.toml:2: [schedule] spread: want at most 24h0m0s", ""},
		{"negative spread", "[schedule]\nspread = \"-1h\"" + storage, "f.toml:2: [schedule] spread: want a duration", ""},
		{"fallback", "[schedule]\nfallback = 26" + storage, "f.toml:2: [schedule] fallback: want a duration", ""},
		{"drill", "[schedule]\ndrill = \"@daily\"" + storage, "f.toml:2: [schedule] drill: this version of remora has no drill", ""},
		{"prune", "[schedule]\nprune = \"@daily\"" + storage, "f.toml:2: [schedule] prune: this version of remora has no prune", ""},
		{"log level", "[log]\nlevel = \"loud\"" + storage, `f.toml:2: [log] level: want one of trace, debug, info, warn, error, off, have "loud"`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse("f.toml", c.text)
			if err == nil {
				t.Fatalf("got no error, want %q", c.want)
			}
			if !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got  %q\nwant %q", err, c.want)
			}
			if got := code.Of(err); got != code.Usage {
				t.Errorf("code: got %d, want %d", got, code.Usage)
			}
			if !strings.Contains(code.HintOf(err), c.hint) {
				t.Errorf("hint: got %q, want %q in it", code.HintOf(err), c.hint)
			}
		})
	}
}

func TestExplainNamesWhatAPluginRefused(t *testing.T) {
	s, err := Parse("f.toml", whole)
	if err != nil {
		t.Fatal(err)
	}
	refusal := code.New(code.Usage, `unknown key "deep", did you mean "depth"?`)
	for _, c := range []struct {
		p    Plugin
		err  error
		want string
	}{
		{s.Storage, refusal, `f.toml:19: [storage.config]: unknown key "deep", did you mean "depth"?`},
		{s.Storage, code.New(code.Usage, "no"), "f.toml:17: [storage.config]: no"},
		{s.Storage, code.New(code.Usage, `key "absent" is missing`), `f.toml:17: [storage.config]: key "absent" is missing`},
		{s.Notify[0], code.New(code.Usage, `key "url": no`), `f.toml:24: [notify.config]: key "url": no`},
		{s.Notify[1], code.New(code.Usage, "no"), "f.toml:26: [notify.config]: no"},
		{s.Lock, code.New(code.Usage, "no"), "f.toml: [lock.config]: no"},
	} {
		got := c.p.Explain(c.err)
		if got.Error() != c.want || code.Of(got) != code.Usage {
			t.Errorf("got  %q (code %d)\nwant %q", got, code.Of(got), c.want)
		}
	}
}

func TestFindPrefersTheFlag(t *testing.T) {
	env := func(v string) func(string) string {
		return func(name string) string {
			if name == "REMORA_CONFIG" {
				return v
			}
			return ""
		}
	}
	for _, c := range []struct{ flag, env, want string }{
		{"a", "b", "a"}, {"", "b", "b"}, {"", "", "/etc/remora/remora.toml"},
	} {
		if got := Find(c.flag, env(c.env)); got != c.want {
			t.Errorf("Find(%q, %q): got %q, want %q", c.flag, c.env, got, c.want)
		}
	}
}

func TestLoadOfAMissingFileIsUsage(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "no.toml"))
	if code.Of(err) != code.Usage || code.HintOf(err) == "" {
		t.Errorf("got %v (code %d, hint %q), want code 10 and a hint", err, code.Of(err), code.HintOf(err))
	}
}

func TestPasswordRefusesAFileOthersCanRead(t *testing.T) {
	for _, c := range []struct {
		name  string
		mode  os.FileMode
		owner int // applied as root only; -1: ourselves
		want  string
	}{
		{"private", 0o600, -1, ""},
		{"everybody reads", 0o604, -1, "can be read by everybody"},
		{"group writes", 0o620, -1, "can be written by others"},
		{"group reads, root owns", 0o640, 0, ""},
		{"group reads, another owns", 0o640, 12345, "can be read by its group"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "password")
			if err := os.WriteFile(path, []byte("se cret\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.owner >= 0 {
				if os.Geteuid() != 0 {
					needs.Missing(t, "only root can give a file away")
				}
				if err := os.Chown(path, c.owner, 0); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Chmod(path, c.mode); err != nil {
				t.Fatal(err)
			}
			got, err := MySQL{PasswordFile: path}.Password()
			if c.want == "" {
				if err != nil || got != "se cret" {
					t.Fatalf("got %q, %v, want the password", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "se cret") {
				t.Errorf("got %v, want %q in it and no password", err, c.want)
			}
			if want := "chmod 0600 " + path; code.HintOf(err) != want {
				t.Errorf("hint: got %q, want %q", code.HintOf(err), want)
			}
		})
	}
}

func TestPasswordDoesNotWaitForAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "password")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (MySQL{PasswordFile: path}).Password(); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(whole)
	f.Add("[[notify]]\n[notify.config]\nx=1")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := Parse("f", text); err != nil && code.Of(err) != code.Usage {
			t.Errorf("got code %d for %v, want %d", code.Of(err), err, code.Usage)
		}
	})
}

func TestOldNames(t *testing.T) {
	s, err := Parse("f.toml", "[storage]\nplugin = \"fs\"\n[backup]\nlock_wait_timeout = \"1m\"\n")
	if err != nil || s.Backup.LockPatience != time.Minute || len(s.Warnings) != 1 || !strings.Contains(s.Warnings[0], "f.toml:4: [backup] lock_wait_timeout is called lock_patience") {
		t.Errorf("got %v, %q, %v, want what the old name says, and a warning", s.Backup.LockPatience, s.Warnings, err)
	}
	_, err = Parse("f.toml", "[storage]\nplugin = \"fs\"\n[backup]\nlock_wait_timeout = \"1m\"\nlock_patience = \"1h\"\n")
	if code.Of(err) != code.Usage || !strings.Contains(err.Error(), "f.toml:4: ") {
		t.Errorf("both names: got %v, want an error that names the line", err)
	}
}
