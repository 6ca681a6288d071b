package testscripts

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

const password = "story's own"

// configure makes the account and the file. An account is made anew each time, so that
// it has what is asked for and nothing else.
func configure(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: config NAME [-user USER] [-grants all|least|none] [-without PRIVILEGE] [FILE...]")
	}
	var s *server
	socket, user, which, without := ts.MkAbs("none.sock"), "remora", "all", ""
	if args[0] != "none" {
		s = serverOf(ts, args[0])
		socket = s.Socket
	}
	args = args[1:]
	for len(args) > 1 && strings.HasPrefix(args[0], "-") {
		switch args[0] {
		case "-user":
			user = args[1]
		case "-grants":
			which = args[1]
		case "-without":
			without = args[1]
		default:
			ts.Fatalf("unknown option %s", args[0])
		}
		args = args[2:]
	}
	if user == "remora" && (which != "all" || without != "") {
		ts.Fatalf("the account remora is everybody's: name another with -user")
	}
	if s != nil {
		ts.Check(s.makeAccount(user, which, without))
	}
	ts.Setenv("LOCKS", fmt.Sprintf(`SELECT COUNT(*) FROM performance_schema.metadata_locks m JOIN performance_schema.threads t
		ON t.THREAD_ID = m.OWNER_THREAD_ID WHERE m.OBJECT_TYPE = 'BACKUP LOCK' AND t.PROCESSLIST_USER = '%s'`, user))
	ts.Check(os.WriteFile(ts.MkAbs("password"), []byte(password+"\n"), 0o600))
	text := fmt.Sprintf("[mysql]\nsocket = %q\nuser = %q\npassword_file = %q\nmysqld = %q\n", socket, user, ts.MkAbs("password"), ts.Getenv("MYSQLD"))
	if keyring := ts.Getenv("KEYRING"); keyring != "" {
		text += fmt.Sprintf("keyring_file = %q\n", keyring)
	}
	text += fmt.Sprintf("[state]\ndir = %q\n", ts.MkAbs("state"))
	var more strings.Builder
	for _, file := range args {
		more.WriteString(os.Expand(ts.ReadFile(file), ts.Getenv))
	}
	if !strings.Contains(more.String(), "[storage]") {
		text += fmt.Sprintf("[storage]\nplugin = \"fs\"\n[storage.config]\npath = %q\n", ts.MkAbs("repo"))
	}
	ts.Check(os.MkdirAll(ts.MkAbs("repo"), 0o700))
	ts.Check(os.WriteFile(ts.Getenv("REMORA_CONFIG"), []byte(text+more.String()), 0o600))
}

func (s *server) makeAccount(user, which, without string) error {
	readme, err := os.ReadFile(filepath.Join("..", "README.md"))
	if err != nil {
		return err
	}
	statements, err := account(string(readme), user, which, without)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s.accounts.Lock()
	defer s.accounts.Unlock()
	if user == "remora" && s.remora {
		return nil // other stories use it
	}
	if err := s.Exec(ctx, statements...); err != nil {
		return err
	}
	s.remora = s.remora || user == "remora"
	return nil
}

var (
	sqlBlock = regexp.MustCompile("(?s)```sql\n(.*?)```")
	comment  = regexp.MustCompile(`(?m)--.*$`)
)

// account returns the statements of the README for an account of that name: all, the
// least that works, or only the account itself.
func account(readme, user, which, without string) ([]string, error) {
	block := sqlBlock.FindStringSubmatch(readme)
	if block == nil {
		return nil, fmt.Errorf("README.md has no SQL")
	}
	text := block[1]
	if which == "least" {
		text, _, _ = strings.Cut(text, "-- optional")
	}
	text = strings.NewReplacer("'remora'", "'"+user+"'", "'...'", "'"+strings.ReplaceAll(password, "'", "''")+"'").Replace(comment.ReplaceAllString(text, ""))
	var statements []string
	for _, one := range strings.Split(text, ";") {
		if one = strings.TrimSpace(one); one != "" {
			statements = append(statements, one)
		}
	}
	if len(statements) < 3 || !strings.HasPrefix(statements[0], "CREATE USER") {
		return nil, fmt.Errorf("the SQL of README.md does not create an account: %q", statements)
	}
	if which == "none" {
		statements = statements[:1]
	}
	if without != "" {
		i := slices.IndexFunc(statements, func(s string) bool { return strings.Contains(s, without) })
		if i < 0 {
			return nil, fmt.Errorf("no GRANT of README.md has %s", without)
		}
		statements[i] = lessOne(statements[i], without)
		statements = slices.DeleteFunc(statements, func(s string) bool { return s == "" })
	}
	return append([]string{"DROP USER IF EXISTS '" + user + "'@'localhost'"}, statements...), nil
}

// lessOne takes a privilege out of a GRANT; "" if it was the only one.
func lessOne(grant, privilege string) string {
	list, rest, _ := strings.Cut(strings.TrimPrefix(grant, "GRANT "), " ON ")
	all := strings.Split(list, ", ")
	left := slices.DeleteFunc(all, func(p string) bool { return strings.Contains(p+" ON "+rest, privilege) })
	if len(left) == 0 {
		return ""
	}
	return "GRANT " + strings.Join(left, ", ") + " ON " + rest
}
