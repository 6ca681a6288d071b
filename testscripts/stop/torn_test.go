package stop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/remora-backup/remora/core/syncpoint"
)

// torn writes half of a page, as a server does that is in the middle of writing it, and lets a
// backup read that. The other half follows, or never does.
func torn(t *testing.T, b *bench) {
	s := b.server(t)
	exec := func(statements ...string) {
		t.Helper()
		if err := s.Exec(t.Context(), statements...); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE TABLE probe.torn (id INT AUTO_INCREMENT PRIMARY KEY, v VARCHAR(200))",
		"INSERT INTO probe.torn (v) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 80) SELECT REPEAT(HEX(i), 9) FROM n")
	defer exec("DROP TABLE probe.torn")
	file, err := os.OpenFile(filepath.Join(s.Dir, "probe/torn.ibd"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const root, size = 4, 16384 // the page that holds the rows
	flushed := func() []byte {
		t.Helper()
		exec("FLUSH TABLES probe.torn FOR EXPORT", "UNLOCK TABLES")
		p := make([]byte, size)
		if _, err := file.ReadAt(p, root*size); err != nil {
			t.Fatal(err)
		}
		return p
	}
	write := func(p []byte) {
		if _, err := file.WriteAt(p, root*size); err != nil {
			t.Error(err)
		}
	}
	old := flushed()
	exec("UPDATE probe.torn SET v = REVERSE(CONCAT(v, 'x'))")
	whole := flushed()
	half := append(append([]byte{}, whole[:size/2]...), old[size/2:]...)

	c := b.backupAt(t, syncpoint.CopyDiscovered)
	write(half)
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, file.Name(), unix.IN_ACCESS); err != nil {
		t.Fatal(err)
	}
	healed := make(chan error, 1)
	go func() {
		err := reads(watch, 6) // some to open it, the others of the page
		write(whole)
		healed <- err
	}()
	a := c.goOn()
	if err := <-healed; err != nil {
		t.Fatal(err)
	}
	if a.code != 0 || !strings.Contains(a.out, "held a page that was being written and were read again") {
		t.Errorf("torn, then whole: exit code %d, want 0 and a note\n%s", a.code, a)
	}
	c.exact(t.Context())

	c = b.backupAt(t, syncpoint.CopyDiscovered)
	write(half)
	a = c.goOn()
	write(whole)
	if a.code != 16 || !strings.Contains(a.out, fmt.Sprintf("probe/torn.ibd: page %d (LSN ", root)) {
		t.Errorf("torn for ever: exit code %d, want 16 and the page\n%s", a.code, a)
	}
	c.endsByItself(16)
}

// reads returns when what is watched was read so many times.
func reads(watch, n int) error {
	event := make([]byte, unix.SizeofInotifyEvent+unix.NAME_MAX+1)
	for n > 0 {
		wait := []unix.PollFd{{Fd: int32(watch), Events: unix.POLLIN}}
		ready, err := unix.Poll(wait, int(patience.Milliseconds()))
		if err == nil && ready == 1 {
			_, err = unix.Read(watch, event)
			n--
		} else if err == nil {
			return fmt.Errorf("nobody reads the file for %v", patience)
		}
		if err != nil && err != unix.EINTR {
			return err
		}
	}
	return nil
}
