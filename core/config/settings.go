// Package config reads the configuration file.
//
// The file is TOML. Whatever is not known is an error that names file, line, key and
// the nearest known key: a setting that is misspelled and therefore ignored is found on
// the day of the restore. A plugin's own part stays raw and is checked by the plugin.
package config

import (
	"encoding/json"
	"time"

	"github.com/remora-backup/remora/core/schedule"
)

// DefaultPath is read when neither --config nor $REMORA_CONFIG names a file.
const DefaultPath = "/etc/remora/remora.toml"

// Settings is the whole configuration, with its defaults filled in.
type Settings struct {
	Path string `toml:"-"` // the file it was read from
	// Warnings are of what works in this release only.
	Warnings []string `toml:"-"`
	MySQL    MySQL    `toml:"mysql"`
	State    State    `toml:"state"`
	Storage  Plugin   `toml:"storage"`
	Lock     Plugin   `toml:"lock"`
	Notify   []Plugin `toml:"notify"`
	Hooks    Hooks    `toml:"hooks"`
	Backup   Backup   `toml:"backup"`
	Log      Log      `toml:"log"`

	Schedule schedule.Settings `toml:"schedule"` // of the sidecar
	Serve    Serve             `toml:"serve"`
	Restore  []Target          `toml:"restore"` // where the API may restore to
}

// Serve is where the sidecar can be reached besides its socket, and by whom.
type Serve struct {
	Listen       []string      `toml:"listen"`        // "tls:HOST:PORT"
	Probes       string        `toml:"probes"`        // "HOST:PORT": health and metrics, and nothing else
	AllowedHosts []string      `toml:"allowed_hosts"` // under which a proxy passes requests on
	AllowDelete  bool          `toml:"allow_delete"`  // by API
	Certificate  string        `toml:"certificate"`   // of Listen, PEM
	Key          string        `toml:"key"`
	ClientCA     string        `toml:"client_ca"` // signs the certificates of callers
	Tokens       []Token       `toml:"token"`
	Peers        []Peer        `toml:"peer"`
	Certificates []Certificate `toml:"certificates"`
}

// Token is a bearer token, known by its digest only.
type Token struct {
	Name   string `toml:"name"`
	SHA256 string `toml:"sha256"`
	Role   string `toml:"role"`
}

// Peer is a user of this host.
type Peer struct {
	UID  string `toml:"uid"` // or the name
	Role string `toml:"role"`
}

// Certificate is that of a caller.
type Certificate struct {
	Name string `toml:"name"`
	Role string `toml:"role"`
}

// Target is a directory that has a name.
type Target struct {
	Name string `toml:"name"`
	Dir  string `toml:"target"`
}

// MySQL says how to reach the server, and which binary prepares a restore.
type MySQL struct {
	Socket       string   `toml:"socket"` // of the server; excludes Host
	Host         string   `toml:"host"`
	Port         int      `toml:"port"`
	TLS          string   `toml:"tls"` // "off", "skip-verify" (encrypted, not authenticated) or "verify"
	User         string   `toml:"user"`
	PasswordFile string   `toml:"password_file"`
	Mysqld       string   `toml:"mysqld"`       // binary that prepares; empty: found in PATH
	MysqldArgs   []string `toml:"mysqld_args"`  // put before ours when it is spawned
	KeyringFile  string   `toml:"keyring_file"` // data file of component_keyring_file, for an encrypted redo log
}

// State is where history and lock file lie.
type State struct {
	Dir string `toml:"dir"`
}

// Plugin names one plugin. Config is its part of the file as JSON ("{}" if absent).
type Plugin struct {
	Plugin  string          `toml:"plugin"`   // a built-in name, or an absolute path
	SHA256  string          `toml:"sha256"`   // of the executable, 64 hex digits; empty: not pinned
	MTLS    string          `toml:"mtls"`     // "auto" (on) or "off", for languages that cannot do P-521
	Args    []string        `toml:"args"`     // of the executable
	EnvPass []string        `toml:"env_pass"` // names of variables handed on; no other is
	Config  json.RawMessage `toml:"config"`

	Timeouts Timeouts `toml:"timeouts"`

	d  *decoder
	at keys
}

// Timeouts is how long a plugin may take before it is taken for dead; what is zero is what
// its host decides.
type Timeouts struct {
	Start  time.Duration `toml:"start"`  // from its execution to its answer to Configure
	Call   time.Duration `toml:"call"`   // to answer one call
	Commit time.Duration `toml:"commit"` // to make an object durable
	Stall  time.Duration `toml:"stall"`  // without moving a byte
	Abort  time.Duration `toml:"abort"`  // to give up a transfer
}

// Hooks names the Lua scripts, in the order in which they are called.
type Hooks struct {
	Scripts []string        `toml:"scripts"`
	Timeout time.Duration   `toml:"timeout"`  // of one call
	OnError string          `toml:"on_error"` // of before_phase: "fail" (the phase is vetoed) or "ignore"
	Config  json.RawMessage `toml:"config"`   // what scripts see as their settings
}

// Backup tunes the engine.
type Backup struct {
	Compression    string        `toml:"compression"`     // "zstd" or "none"
	Parallel       int           `toml:"parallel"`        // files copied at once; 0: chosen by the engine
	LockPatience   time.Duration `toml:"lock_patience"`   // for the server's locks, in all; while it lasts nobody waits for us
	ExcludeEngines []string      `toml:"exclude_engines"` // engines that are not copied, left out on purpose
	MaxDataAge     time.Duration `toml:"max_data_age"`    // of a replica, its configured delay added
	Stale          string        `toml:"stale"`           // what an older one gets: "warn" or "fail"
}

// Log says what goes to stderr.
type Log struct {
	Level  string `toml:"level"`  // "trace", "debug", "info", "warn", "error" or "off"
	Format string `toml:"format"` // "text" or "json"
}

func defaults() Settings {
	return Settings{
		MySQL:   MySQL{Port: 3306, TLS: "off"},
		State:   State{Dir: "/var/lib/remora"},
		Storage: plugin(""),
		Lock:    plugin("mysql"),
		Hooks:   Hooks{Timeout: 5 * time.Second, OnError: "fail", Config: json.RawMessage("{}")},
		Backup:  Backup{Compression: "zstd", LockPatience: time.Hour, MaxDataAge: time.Hour, Stale: "warn"},
		Log:     Log{Level: "info", Format: "text"},

		Schedule: schedule.Defaults(),
	}
}

func plugin(name string) Plugin {
	return Plugin{Plugin: name, MTLS: "auto", Config: json.RawMessage("{}")}
}
