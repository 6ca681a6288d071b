package config

import (
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// rule is one condition on the settings; bad says what is wrong at that key.
type rule struct {
	at   keys
	bad  bool
	hint string
	text string
}

var (
	sha256Hex   = regexp.MustCompile(`^[0-9a-fA-F]{64}$`)
	builtinName = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)
)

// check refuses what is well formed and still cannot work, and fills in what depends on
// other settings.
func (d *decoder) check(s *Settings) error {
	m := &s.MySQL
	rules := []rule{
		{keys{"mysql", "host"}, m.Host != "" && m.Socket != "", "keep one of them", "[mysql] has both socket and host"},
		{keys{"mysql", "port"}, m.Port < 1 || m.Port > 65535, "", "[mysql] port: want 1 to 65535"},
		oneOf("mysql", "tls", m.TLS, "off", "skip-verify", "verify"),
		absolute("mysql", "socket", m.Socket),
		absolute("mysql", "mysqld", m.Mysqld),
		absolute("mysql", "password_file", m.PasswordFile),
		absolute("mysql", "keyring_file", m.KeyringFile),
		{keys{"state", "dir"}, s.State.Dir == "", "", "[state] dir is empty"},
		absolute("state", "dir", s.State.Dir),
		oneOf("backup", "compression", s.Backup.Compression, "zstd", "none"),
		oneOf("backup", "stale", s.Backup.Stale, "warn", "fail"),
		{keys{"backup", "max_data_age"}, s.Backup.MaxDataAge <= 0, "", "[backup] max_data_age: want more than 0"},
		{keys{"backup", "lock_patience"}, s.Backup.LockPatience <= 0, "", "[backup] lock_patience: want more than 0"},
		oneOf("hooks", "on_error", s.Hooks.OnError, "fail", "ignore"),
		oneOf("log", "level", s.Log.Level, "trace", "debug", "info", "warn", "error", "off"),
		oneOf("log", "format", s.Log.Format, "text", "json"),
	}
	rules = append(rules, scheduleRules(s.Schedule)...)
	rules = append(rules, serveRules(s.Serve, s.Restore)...)
	rules = append(rules, pluginRules(keys{"storage"}, s.Storage, `[storage] plugin = "fs"`)...)
	rules = append(rules, pluginRules(keys{"lock"}, s.Lock, `[lock] plugin = "mysql"`)...)
	for i, n := range s.Notify {
		rules = append(rules, pluginRules(keys{"notify", strconv.Itoa(i)}, n, `[[notify]] plugin = "webhook"`)...)
	}
	for _, script := range s.Hooks.Scripts {
		rules = append(rules, absolute("hooks", "scripts", script))
	}
	for _, r := range rules {
		if r.bad {
			return d.errorf(r.at, r.hint, "%s", r.text)
		}
	}
	if m.Host == "" && m.Socket == "" {
		m.Socket = "/run/mysqld/mysqld.sock"
	}
	return nil
}

func pluginRules(at keys, p Plugin, example string) []rule {
	name := at.with("plugin")
	return []rule{
		{name, p.Plugin == "", "write for example: " + example, name.String() + " is missing"},
		{name, p.Plugin != "" && !filepath.IsAbs(p.Plugin) && !builtinName.MatchString(p.Plugin), "",
			name.String() + ": want a built-in name or an absolute path, have " + strconv.Quote(p.Plugin)},
		{at.with("mtls"), p.MTLS != "auto" && p.MTLS != "off", "", at.with("mtls").String() + ": want one of auto, off, have " + strconv.Quote(p.MTLS)},
		{at.with("sha256"), p.SHA256 != "" && !sha256Hex.MatchString(p.SHA256), "sha256sum " + p.Plugin,
			at.with("sha256").String() + ": want 64 hex digits"},
		{at.with("sha256"), p.SHA256 != "" && !filepath.IsAbs(p.Plugin), "a built-in plugin is this binary itself",
			at.with("sha256").String() + " is for plugins named by their path"},
	}
}

func oneOf(table, key, value string, known ...string) rule {
	at := keys{table, key}
	return rule{at: at, bad: !slices.Contains(known, value),
		text: at.String() + ": want one of " + strings.Join(known, ", ") + ", have " + strconv.Quote(value)}
}

func absolute(table, key, path string) rule {
	at := keys{table, key}
	return rule{at: at, bad: path != "" && !filepath.IsAbs(path), text: at.String() + ": want an absolute path, have " + strconv.Quote(path)}
}
