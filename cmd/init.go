package cmd

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/config"
	"github.com/remora-backup/remora/core/server"
)

// setup is what the person says of the configuration to be.
type setup struct {
	socket, storage, state, mysqld string
	user                           string // of remora
	admin, adminFile               string
	force                          bool
}

func (a *app) init() *cobra.Command {
	var s setup
	c := a.configured(&cobra.Command{
		Use:   "init",
		Short: "Find the server and write a first configuration",
		Long: "Init looks for the server on this host and for a file system with room, and writes a configuration\n" +
			"with comments, and a password, that nobody else can read; run by root it gives them to the user of the\n" +
			"server, as whom remora is to run. It prints the statements that make remora's\n" +
			"account; with --admin-user it carries them out.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.setUp(c.Context(), s) },
	})
	f := c.Flags()
	f.StringVar(&s.socket, "socket", "", "`path` of the server's socket (default: looked for)")
	f.StringVar(&s.storage, "storage", "", "`directory` for the backups (default: where there is most room)")
	f.StringVar(&s.state, "state", "/var/lib/remora", "`directory` for history and lock file")
	f.StringVar(&s.mysqld, "mysqld", "", "`path` of the mysqld that prepares restores (default: looked for)")
	f.StringVar(&s.user, "user", "remora", "`name` of remora's account")
	f.StringVar(&s.admin, "admin-user", "", "`name` of an account that makes remora's")
	f.StringVar(&s.adminFile, "admin-password-file", "", "`file` with its password (default: asked for)")
	f.BoolVar(&s.force, "force", false, "replace a configuration and a password that are there")
	return c
}

func (a *app) setUp(ctx context.Context, s setup) error {
	path, err := filepath.Abs(config.Find(a.config, a.env.Getenv))
	if err != nil {
		return usage(err)
	}
	for _, p := range []*string{&s.socket, &s.storage, &s.state, &s.mysqld} {
		if *p == "" {
			continue
		}
		if *p, err = filepath.Abs(*p); err != nil {
			return usage(err)
		}
	}
	passwordFile := filepath.Join(filepath.Dir(path), "password")
	for _, there := range []string{path, passwordFile} {
		if _, err := os.Lstat(there); !errors.Is(err, fs.ErrNotExist) && !s.force {
			return code.Hint(code.Usage, "--force replaces it, --config names another", "%s is there already", there)
		}
	}
	found, err := findServer(ctx, s.socket)
	if err != nil {
		return err
	}
	fmt.Fprintf(a.env.Stdout, "server: MySQL %s at %s\n", printable(found.version), found.socket)
	w := writing{setup: s, path: path, passwordFile: passwordFile, found: found, password: newPassword()}
	if err := w.choose(); err != nil {
		return err
	}
	text, err := w.text()
	if err != nil {
		return err
	}
	made, err := a.makeAccount(ctx, s, found.socket, w.password)
	if err != nil {
		return err
	}
	if err := w.write(text); err != nil {
		return err
	}
	a.sayWritten(w, made)
	return nil
}

// newPassword has what the strictest of MySQL's usual policies asks for.
func newPassword() string { return rand.Text() + "-" + strings.ToLower(rand.Text()[:8]) + "-X9x" }

// makeAccount carries the statements out if there is an administrator, and says whether it did.
func (a *app) makeAccount(ctx context.Context, s setup, socket, password string) (bool, error) {
	if s.admin == "" {
		return false, nil
	}
	secret, err := a.adminPassword(s)
	if err != nil {
		return false, err
	}
	db, where, err := server.Open(server.Config{Socket: socket, User: s.admin, Password: secret})
	if err != nil {
		return false, err
	}
	defer db.Close()
	for i, statement := range server.Account(s.user, password) {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			if i == 0 {
				statement = "CREATE USER " + s.user // the password stays untold
			}
			return false, code.Hint(code.Privilege, "DROP USER if an account of that name is left over; on a replica, make the account on its source",
				"make the account on %s: %s: %w", where, statement, err)
		}
	}
	return true, nil
}

func (a *app) adminPassword(s setup) (string, error) {
	if s.adminFile != "" {
		path, err := filepath.Abs(s.adminFile)
		if err != nil {
			return "", usage(err)
		}
		secret, err := (config.MySQL{PasswordFile: path}).Password()
		if err != nil {
			return "", fmt.Errorf("--admin-password-file: %w", err)
		}
		return secret, nil
	}
	in, ok := a.env.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		return "", code.Hint(code.Usage, "--admin-password-file", "the password of %s cannot be asked for: there is no terminal", s.admin)
	}
	fmt.Fprintf(a.env.Stderr, "password of %s: ", s.admin)
	secret, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(a.env.Stderr)
	if err != nil {
		return "", code.New(code.Usage, "read the password: %w", err)
	}
	return string(secret), nil
}

func (a *app) sayWritten(w writing, made bool) {
	out := a.env.Stdout
	fmt.Fprintf(out, "storage: %s\nwritten: %s\nwritten: %s\n", w.storage, w.path, w.passwordFile)
	if made {
		fmt.Fprintf(out, "made: the account %s\n", w.user)
	} else {
		fmt.Fprintf(out, "\nmake the account, as an administrator:\n\n  %s;\n\n", strings.Join(server.Account(w.user, w.password), ";\n  "))
	}
	next := "remora doctor"
	if w.path != config.DefaultPath && w.path != cmp.Or(a.env.Getenv("REMORA_CONFIG"), config.DefaultPath) {
		next += " --config " + w.path
	}
	if uid := os.Geteuid(); uid == 0 && w.found.owner.uid != 0 {
		next = "runuser -u " + w.found.owner.name() + " -- " + next // as whom the unit runs it
	}
	fmt.Fprintf(out, "next: %s\n", next)
}
