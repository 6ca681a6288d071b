package mysqld

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// userArgs is how a command line begins: the user's own arguments, e.g. for a keyring. All of ours follow, so that
// ours win.
func userArgs(user []string) (args []string) {
	if len(user) == 0 || !strings.HasPrefix(user[0], "--defaults-") && user[0] != "--no-defaults" {
		args = append(args, "--no-defaults") // must be the first
	}
	args = append(args, user...)
	if os.Geteuid() == 0 && !hasOption(user, "--user") {
		args = append(args, "--user=root") // files are given to their owner afterwards
	}
	return args
}

// placeArgs are all options that name a place where a server reads or writes, but for its installation and its
// keyring: with what the user's own say, as the source's configuration does, it would work in another server's files.
// The socket's name is relative to the data directory, as that of a socket may have about 100 bytes only; without one
// a server does not run.
func placeArgs(dataDir, home string) []string {
	socket, err := filepath.Rel(dataDir, filepath.Join(home, "s"))
	if err != nil {
		socket = filepath.Join(home, "s") // as good as any: the server says what is wrong
	}
	args := []string{
		"--datadir=" + dataDir, "--tmpdir=" + home, "--replica-load-tmpdir=" + home, "--secure-file-priv=" + home,
		"--socket=" + socket, "--loose-mysqlx-socket=", "--pid-file=" + filepath.Join(home, "pid"),
		"--skip-log-error", // the log goes to stderr
		"--general-log-file=" + filepath.Join(home, "general.log"), "--slow-query-log-file=" + filepath.Join(home, "slow.log"),
		"--relay-log=" + filepath.Join(home, "relay"), "--relay-log-index=" + filepath.Join(home, "relay.index"),
		"--innodb-data-home-dir=", "--innodb-log-group-home-dir=./", "--innodb-undo-directory=./", "--innodb-directories=",
		"--innodb-doublewrite-dir=", "--innodb-tmpdir=",
		"--innodb-temp-data-file-path=" + tempFile + ":12M:autoextend",
		"--innodb-buffer-pool-filename=ib_buffer_pool", "--innodb-redo-log-archive-dirs=",
		"--ft-stopword-file=",
	}
	if !strings.HasPrefix(home, dataDir+"/") { // there the server would refuse it
		args = append(args, "--innodb-temp-tablespaces-dir="+home)
	}
	return args
}

// tempFile is the recovering server's temporary tablespace. No schema's directory has a name like that; one may be
// named ibtmp1, if the source had its temporary tablespace elsewhere.
const tempFile = "#remora_tmp"

// quietArgs let a server do nothing of its own, listen nowhere and tell all.
func quietArgs() []string {
	return []string{
		"--skip-networking", "--loose-mysqlx=OFF", "--skip-replica-start", "--event-scheduler=OFF",
		"--loose-group-replication-start-on-boot=OFF", "--persisted-globals-load=OFF",
		"--log-error-verbosity=3", "--log-error-services=log_filter_internal;log_sink_internal",
		"--log-error-suppression-list=", "--log-timestamps=UTC",
		"--general-log=OFF", "--slow-query-log=OFF", "--performance-schema=OFF",
		"--tls-version=", "--admin-tls-version=", // no certificate is looked for
		"--loose-auto-generate-certs=OFF", "--loose-sha256-password-auto-generate-rsa-keys=OFF",
		"--loose-caching-sha2-password-auto-generate-rsa-keys=OFF",
	}
}

// recoverArgs is the command line. Options that some version lacks are "loose".
func recoverArgs(o RecoverOptions, initFile string) []string {
	args := append(userArgs(o.Args), placeArgs(o.DataDir, o.Home)...)
	args = append(args, quietArgs()...)
	args = append(args,
		"--init-file="+initFile, "--init-connect=",
		"--innodb-read-only=OFF", "--innodb-force-recovery=0",
		"--innodb-doublewrite=OFF", "--innodb-log-buffer-size=64M", // not less than the biggest mini-transaction
		"--innodb-buffer-pool-load-at-startup=OFF", "--innodb-buffer-pool-dump-at-shutdown="+dumpBufferPool(o.DataDir),
		fmt.Sprintf("--lower-case-table-names=%d", o.LowerCaseTableNames),
	)
	text := func(name, v string) {
		if v != "" {
			args = append(args, name+"="+v)
		}
	}
	number := func(name string, n int64) {
		if n != 0 {
			args = append(args, fmt.Sprintf("%s=%d", name, n))
		}
	}
	number("--innodb-page-size", int64(o.PageSize))
	text("--innodb-data-file-path", o.DataFilePath)
	text("--innodb-undo-directory", o.UndoDir)
	text("--innodb-directories", o.Directories)
	number("--innodb-buffer-pool-size", o.BufferPool)
	number("--innodb-redo-log-capacity", o.RedoBytes)
	if o.LogBin == "" {
		return append(args, "--skip-log-bin")
	}
	return append(args, "--log-bin="+o.LogBin, "--log-bin-index="+o.LogBin+".index", "--server-id=1", "--binlog-expire-logs-seconds=0")
}

// dumpBufferPool keeps the source's list of hot pages. Where there is none our own is better
// than nothing: a server that misses the file says so in an [ERROR] line at its first start.
func dumpBufferPool(dataDir string) string {
	if _, err := os.Stat(filepath.Join(dataDir, "ib_buffer_pool")); err == nil {
		return "OFF"
	}
	return "ON"
}

// hasOption reports whether an option is among the arguments, in either spelling of "-" and "_".
func hasOption(args []string, name string) bool {
	for _, a := range args {
		key, _, _ := strings.Cut(a, "=")
		if strings.ReplaceAll(key, "_", "-") == name {
			return true
		}
	}
	return false
}
