package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/remora-backup/remora/core/adopt"
	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/inert"
	"github.com/remora-backup/remora/core/server"
)

func (a *app) adopt() *cobra.Command {
	var as, user, passwordFile string
	c := a.configured(&cobra.Command{
		Use:   "adopt DIR|SOCKET",
		Short: "Compare a started server with what was restored, and let it live",
		Long: "Adopt ends a restore. It connects to the server that was started on DIR, or listens on SOCKET, and compares\n" +
			"its executed transactions, its server_uuid and its tablespaces with what the restore recorded. What differs is\n" +
			"said line by line, and nothing is changed. Without --as it only looks; --as primary or --as replica then lifts\n" +
			"what keeps the server quiet, statement by statement. The account needs PROCESS to look, and to lift\n" +
			"SYSTEM_VARIABLES_ADMIN, PERSIST_RO_VARIABLES_ADMIN, CONNECTION_ADMIN and REPLICATION_SLAVE_ADMIN; where\n" +
			"there are MEMORY tables also RELOAD and SELECT on them.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			role := inert.Inert
			if as != "" {
				var err error
				if role, err = inert.ParseRole(as); err != nil {
					return err
				}
			}
			s, err := a.settings()
			if err != nil {
				return err
			}
			if user != "" {
				s.MySQL.User, s.MySQL.PasswordFile = user, passwordFile
			}
			password, err := s.MySQL.Password()
			if err != nil {
				return err
			}
			return a.adoptServer(c.Context(), args[0], role, server.Config{User: s.MySQL.User, Password: password})
		},
	})
	c.Flags().StringVar(&as, "as", "", "what it is to be: primary or replica")
	c.Flags().StringVar(&user, "user", "", "`account` to use; else [mysql] user")
	c.Flags().StringVar(&passwordFile, "password-file", "", "`file` with the password of --user; without it there is none")
	return c
}

func (a *app) adoptServer(ctx context.Context, place string, role inert.Role, reach server.Config) error {
	srv, dir, err := connectStarted(ctx, place, reach)
	if err != nil {
		return err
	}
	defer srv.Close()
	r, err := inert.ReadRecord(dir)
	if err != nil {
		return err
	}
	if !r.Adopted.IsZero() {
		return a.adopted(dir, r, role)
	}
	fmt.Fprintf(a.env.Stdout, "%s was restored as %s from backup %s on %s\n", dir, r.As, r.Backup, stamp(r.Restored))
	differences, err := adopt.Compare(ctx, srv, r)
	if err != nil {
		return err
	}
	for _, d := range differences {
		fmt.Fprintln(a.env.Stdout, "differs: "+printable(d.Text))
	}
	if err := adopt.Answer(differences); err != nil {
		return err
	}
	fmt.Fprintf(a.env.Stdout, "the same: gtid_executed %s, %d tablespaces\n", cmp.Or(r.GTIDExecuted, "(none)"), len(r.Tablespaces))
	if role != inert.Inert {
		tell := func(s string) { fmt.Fprintln(a.env.Stdout, s+";") }
		if err := adopt.OpenEmptied(ctx, srv, r, tell); err != nil {
			return err
		}
		if err := adopt.Lift(ctx, srv, r, role, tell); err != nil {
			return err
		}
		r.As, r.Adopted = role, time.Now().UTC()
		if err := note(dir, r); err != nil { // the server lives all the same
			fmt.Fprintf(a.env.Stderr, "hint: who adopts it again will compare it again: %v\n", err)
		}
	}
	fmt.Fprintln(a.env.Stdout, adopt.Afterwards(role))
	return nil
}

// adopted is for a server that has been, whose data are its own since.
func (a *app) adopted(dir string, r inert.Record, role inert.Role) error {
	if role != inert.Inert && role != r.As {
		return code.New(code.Usage, "%s was adopted as %s on %s: what it is from then on is no business of its restore", dir, r.As, stamp(r.Adopted))
	}
	fmt.Fprintf(a.env.Stdout, "%s was restored from backup %s, and adopted as %s on %s\n", dir, r.Backup, r.As, stamp(r.Adopted))
	return nil
}

// note writes that the server was adopted beside its data.
func note(dir string, r inert.Record) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	return errors.Join(r.Write(root, "."), root.Close())
}

// connectStarted connects to the server at a socket, or on a data directory, and returns that
// directory. What it reached is the server of the directory that was named, or an error.
func connectStarted(ctx context.Context, place string, reach server.Config) (*server.Server, string, error) {
	info, err := os.Stat(place)
	if err != nil {
		return nil, "", usage(err)
	}
	sockets := []string{place}
	if info.IsDir() {
		if place, err = filepath.Abs(place); err != nil {
			return nil, "", usage(err)
		}
		if sockets, err = adopt.Sockets(place); err != nil {
			return nil, "", err
		}
	}
	var failed []error
	for _, reach.Socket = range sockets {
		srv, err := server.Connect(ctx, reach)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		dir, err := srv.DataDir(ctx)
		if err == nil && info.IsDir() && !sameDir(dir, info) {
			err = code.New(code.Target, "the server at %s has its data in %s, not in %s", reach.Socket, dir, place)
		}
		if err != nil {
			return nil, "", errors.Join(err, srv.Close())
		}
		return srv, dir, nil
	}
	return nil, "", failed[0]
}

func sameDir(path string, want os.FileInfo) bool {
	is, err := os.Stat(path)
	return err == nil && os.SameFile(is, want)
}
