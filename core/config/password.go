package config

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/remora-backup/remora/core/code"
)

// Password reads the password file; "" if none is configured. One newline at the end is
// not part of the password. The file must be readable by nobody else: a group may read
// it only if root owns it (root:remora 0640, and mounted secrets). Errors carry
// code.Usage and say how to put it right; they never show the content.
func (m MySQL) Password() (string, error) {
	if m.PasswordFile == "" {
		return "", nil
	}
	f, err := os.OpenFile(m.PasswordFile, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would wait for its writer
	if err != nil {
		return "", code.New(code.Usage, "read [mysql] password_file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", code.New(code.Usage, "read [mysql] password_file: %w", err)
	}
	if open := exposed(info); open != "" {
		return "", code.Hint(code.Usage, "chmod 0600 "+m.PasswordFile, "[mysql] password_file %s %s (mode %04o)", m.PasswordFile, open, info.Mode().Perm())
	}
	text, err := io.ReadAll(io.LimitReader(f, 4097))
	if err == nil && len(text) > 4096 {
		err = fmt.Errorf("longer than 4096 bytes")
	}
	if err != nil {
		return "", code.New(code.Usage, "read [mysql] password_file %s: %w", m.PasswordFile, err)
	}
	return strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"), nil
}

// exposed says who else can use the file, "" if nobody.
func exposed(info os.FileInfo) string {
	mode := info.Mode()
	stat, _ := info.Sys().(*syscall.Stat_t)
	rootOwns := stat != nil && stat.Uid == 0
	switch {
	case !mode.IsRegular():
		return "is not a regular file"
	case mode&0o022 != 0:
		return "can be written by others"
	case mode&0o004 != 0:
		return "can be read by everybody"
	case mode&0o040 != 0 && !rootOwns:
		return "can be read by its group"
	}
	return ""
}
