package testscripts

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// onTerminal runs a program whose standard streams are a terminal of 120 columns.
func onTerminal(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: tty CODE PROGRAM [ARGUMENT...]")
	}
	master, slave, err := openTerminal(120, 40)
	ts.Check(err)
	defer master.Close()
	live, err := os.Create(ts.MkAbs("terminal"))
	ts.Check(err)
	defer live.Close()
	cmd := exec.Command(lookPath(ts, args[1]), args[2:]...)
	cmd.Dir, cmd.Env = ts.MkAbs("."), append(environment(ts), "TERM=xterm")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		slave.Close()
		ts.Check(err)
	}
	slave.Close()
	var seen strings.Builder
	buf := make([]byte, 4096)
	for {
		n, err := master.Read(buf) // EIO when the last one has closed the terminal
		seen.Write(buf[:n])
		_, _ = live.Write(buf[:n]) // for those who watch; the story itself has seen
		if err != nil {
			break
		}
	}
	err = cmd.Wait()
	fmt.Fprint(ts.Stdout(), seen.String())
	checkCode(ts, args[0], err)
}

// openTerminal makes a pseudo terminal. The caller closes both ends.
func openTerminal(columns, rows uint16) (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := int(master.Fd())
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns})
	}
	if err == nil {
		slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, slave, nil
}
