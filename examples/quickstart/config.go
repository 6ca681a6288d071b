package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/remora-backup/remora/core/mysqld/lab"
)

//go:embed alert.lua
var alertScript string

// account is the least a backup needs on MySQL 8.4 and 9.x; README.md has all versions.
var account = []string{
	"CREATE USER 'remora'@'localhost' IDENTIFIED BY 'quick-start'",
	"GRANT BACKUP_ADMIN, PROCESS, RELOAD, REPLICATION CLIENT, SHOW DATABASES ON *.* TO 'remora'@'localhost'",
	"GRANT SELECT ON performance_schema.log_status TO 'remora'@'localhost'",
	"GRANT SELECT ON performance_schema.metadata_locks TO 'remora'@'localhost'",
	"GRANT SELECT ON performance_schema.threads TO 'remora'@'localhost'",
	"GRANT SELECT ON performance_schema.error_log TO 'remora'@'localhost'",
}

func (q *quickstart) configure(ctx context.Context) error {
	if err := q.source.Exec(ctx, account...); err != nil {
		return err
	}
	bin, err := lab.MySQL(ctx)
	if err != nil {
		return err
	}
	if q.webhook, err = listen(); err != nil {
		return err
	}
	q.config = filepath.Join(q.dir, "remora.toml")
	settings := fmt.Sprintf(`[mysql]
socket = %q
user = "remora"
password_file = %q
mysqld = %q

[state]
dir = %q

[storage]
plugin = "fs"
[storage.config]
path = %q

[[notify]]
plugin = "webhook"
[notify.config]
url = %q

[hooks]
scripts = [%q]
[hooks.config]
url = %q
`, q.source.Socket, q.file("password"), bin, q.file("state"), q.file("backups"), q.webhook.url+"/webhook", q.file("alert.lua"), q.webhook.url+"/script")
	for name, text := range map[string]string{"remora.toml": settings, "password": "quick-start\n", "alert.lua": alertScript} {
		if err := os.WriteFile(q.file(name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	fmt.Println("   " + strings.ReplaceAll(strings.Join(account[1:], ";\n"), "\n", "\n   ") + ";")
	fmt.Println("   " + q.config + ":")
	fmt.Println("     " + strings.ReplaceAll(strings.TrimSpace(settings), "\n", "\n     "))
	return nil
}

func (q *quickstart) file(name string) string { return filepath.Join(q.dir, name) }

// play says how to go on with the two servers that were left running.
func (q *quickstart) play() error {
	q.webhook.close()
	for _, s := range []*lab.Server{q.source, q.restored} {
		s.DB().Close()
	}
	fmt.Printf(`
Both servers are left running.
  source:    mariadb --socket=%s -uroot      (process %d)
  restored:  mariadb --socket=%s -uroot      (process %d)
  another backup:   %s backup --config %s
  what there is:    %s list --config %s
  stop and remove:  kill %d %d; sleep 5; rm -rf %s %s %s

`, q.source.Socket, q.source.Pid(), q.restored.Socket, q.restored.Pid(), q.remora, q.config, q.remora, q.config,
		q.source.Pid(), q.restored.Pid(), q.dir, q.source.Home, q.restored.Home)
	return nil
}

func quoteArgs(args []string) string { return strings.Join(args, " ") }
