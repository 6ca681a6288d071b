package mysqld

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/innodb/page"
	"github.com/remora-backup/remora/core/innodb/redo"
	"github.com/remora-backup/remora/core/innodb/tablespace"
)

// TryOptions say what Try tries.
type TryOptions struct {
	Bin  string   // see Find
	Args []string // as for Recover
	// Dir is where: absolute, made, and removed afterwards. What confines the server to some directories must let it
	// work there, so it lies beside those that are recovered later.
	Dir                 string
	Own                 func(path string) error // as for Recover
	PageSize            int                     // innodb_page_size, bytes
	LowerCaseTableNames int
	Keys                []redo.Encryption // sealed keys that its keyring must open
}

// tryWithin bounds a trial. It takes a second; a machine that is very busy needs more.
const tryWithin = 10 * time.Minute

// Try lets the server that will recover show that it can: it takes all its arguments, and, as its user and confined as
// it is, loads its keyring and makes the files of InnoDB in a directory of its own. There it is ended. The error says
// what it said, and the hint what helps.
func Try(ctx context.Context, o TryOptions) error {
	ctx, cancel := context.WithTimeoutCause(ctx, tryWithin, errors.New("mysqld took too long to start"))
	defer cancel()
	data, home := filepath.Join(o.Dir, "data"), filepath.Join(o.Dir, "home")
	defer os.RemoveAll(o.Dir)
	for _, dir := range []string{o.Dir, data, home} {
		if err := makeHome(dir, o.Own); err != nil {
			return fmt.Errorf("try mysqld: %w", code.Full(err))
		}
	}
	args := append(userArgs(o.Args), placeArgs(data, home)...)
	args = append(args, quietArgs()...)
	args = append(args, "--skip-log-bin", "--init-file="+os.DevNull,
		"--innodb-read-only=OFF", "--innodb-force-recovery=0", "--innodb-doublewrite=OFF",
		"--innodb-redo-log-capacity=8M", "--innodb-buffer-pool-size=32M",
		// Nothing may put a key into the keyring.
		"--innodb-redo-log-encrypt=OFF", "--innodb-undo-log-encrypt=OFF", "--default-table-encryption=OFF", "--binlog-encryption=OFF",
		fmt.Sprintf("--lower-case-table-names=%d", o.LowerCaseTableNames))
	if o.PageSize != 0 {
		args = append(args, fmt.Sprintf("--innodb-page-size=%d", o.PageSize))
	}
	args = args[:len(args):len(args)]
	if _, err := tryOnce(ctx, o.Bin, append(args, "--validate-config"), ""); err != nil {
		return err
	}
	started, err := tryOnce(ctx, o.Bin, append(args, "--initialize-insecure"), msgInnoDBStarted)
	if err == nil && !started {
		err = refusal(errors.New("try mysqld: it ended before it had started InnoDB"), nil)
	}
	if err != nil {
		return err
	}
	for _, key := range o.Keys {
		if err := tryKey(ctx, o, args, data, key); err != nil {
			return err
		}
	}
	return nil
}

// tryKey lets the server open a sealed key: it is put into an undo tablespace of those that it
// has made, as if that were encrypted. A server opens these before it has started InnoDB; none of
// their pages is encrypted.
func tryKey(ctx context.Context, o TryOptions, args []string, data string, key redo.Encryption) error {
	err := sealUndo(filepath.Join(data, "undo_001"), page.Plain(cmp.Or(o.PageSize, 16<<10)), key.Bytes())
	if err == nil {
		err = pretendShutdown(filepath.Join(data, "ibdata1"))
	}
	if err != nil {
		return fmt.Errorf("try mysqld: write key %s: %w", key.KeyName(), code.Full(err))
	}
	opened, err := tryOnce(ctx, o.Bin, args, msgStarted)
	if opened || ctx.Err() != nil {
		return err
	}
	if err == nil {
		err = errors.New("it ended before it had opened its undo tablespaces")
	}
	return code.Hint(code.Integrity, keyringHint, "try mysqld: its keyring does not open what is sealed with the master key %s, which the backup needs: %w", key.KeyName(), err)
}

func sealUndo(name string, size page.Size, key []byte) error {
	return edit(name, size.Physical, func(first []byte) { tablespace.PutSealedKey(first, size, key) })
}

// pretendShutdown gives the system tablespace an LSN at which it was flushed: without any a
// server takes its own making for cut short, as it was, and makes no use of its redo log.
func pretendShutdown(name string) error {
	const flushed = 26 // FIL_PAGE_FILE_FLUSH_LSN, which no checksum covers
	return edit(name, page.HeaderSize, func(first []byte) { binary.BigEndian.PutUint64(first[flushed:], 1<<20+redo.BlockHeader) })
}

// edit changes the first bytes of a file.
func edit(name string, n int, change func([]byte)) error {
	f, err := os.OpenFile(name, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	b := make([]byte, n)
	if _, err = f.ReadAt(b, 0); err == nil {
		change(b)
		_, err = f.WriteAt(b, 0)
	}
	return errors.Join(err, f.Close())
}

// tryOnce runs a server until it has ended without an error, or has said the message.
func tryOnce(ctx context.Context, bin string, args []string, message string) (started bool, err error) {
	run, end := context.WithCancel(ctx)
	defer end()
	var said []string
	p, err := Start(run, Options{Bin: bin, Args: args, OnLine: func(line string) {
		msg, ok := parseLine(line)
		started = started || ok && msg.code == message
		if started {
			end()
			return
		}
		if len(said) < maxErrors && (!ok || msg.level == "ERROR") && line != "" {
			said = append(said, line[:min(len(line), maxErrorText)])
		}
	}})
	if err != nil {
		return false, refusal(fmt.Errorf("try mysqld: %w", err), nil)
	}
	exit := p.Wait()
	switch {
	case started:
		return true, nil
	case ctx.Err() != nil:
		return false, fmt.Errorf("try mysqld: %w", context.Cause(ctx))
	case exit != nil:
		return false, refusal(fmt.Errorf("try mysqld: %w", exit), said)
	}
	return false, nil
}

const keyringHint = "give mysqld the keyring of the server that was backed up: its component and manifest, or [mysql] mysqld_args"

// causes are why a server does not start, by what it says; the first that fits.
var causes = []struct {
	says *regexp.Regexp
	code code.Code
	hint string
}{
	{noSpace, code.NoSpace, "make room in the target"},
	{regexp.MustCompile(`(?i)unknown (variable|option)|ambiguous option|requires an argument|open required defaults file|Error while setting value`), code.Usage,
		"correct [mysql] mysqld_args"},
	{regexp.MustCompile(`(?i)keyring`), code.Integrity,
		keyringHint},
	{regexp.MustCompile(`(?i)too many open files|errno: 24\b|error number 24\b|open_files_limit`), code.Usage,
		"raise the limit of open files: ulimit -n, or LimitNOFILE in the unit"},
	{regexp.MustCompile(`(?i)permission denied|operation not permitted|errno: 13\b|error number 13\b`), code.Target,
		"let mysqld work in the target: its user must own it, and AppArmor or SELinux (aa-status, ausearch -m avc) must not confine it to other directories"},
}

// refusal is the error of a server that did not start, with a remedy for what it says.
func refusal(err error, said []string) error {
	text := err.Error() + "\n" + strings.Join(said, "\n")
	for _, line := range said {
		err = fmt.Errorf("%w\n  mysqld: %s", err, line)
	}
	var run *exec.Error
	if errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.ENOEXEC) || errors.As(err, &run) {
		return code.Hint(code.Usage, "see that the program may be executed, and that its file system is not mounted noexec", "%w", err)
	}
	for _, c := range causes {
		if c.says.MatchString(text) {
			return code.Hint(c.code, c.hint, "%w", err)
		}
	}
	return code.Hint(code.Usage, "start this mysqld by hand to see what it lacks", "%w", err)
}
