package mysqld

import (
	"regexp"

	"golang.org/x/sys/unix"
)

// noSpace is how the server says it of InnoDB's files, and of others. Of some, as auto.cnf,
// it only says that they could not be written.
var noSpace = regexp.MustCompile(`(?i)error number (28|122)\b|No space left on device|Disk quota exceeded`)

// roomToExtend is by how much a server makes a tablespace longer, bytes.
const roomToExtend = 1 << 20

// full reports whether a server would not find room below dir.
func full(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && int64(st.Bavail)*st.Bsize < roomToExtend
}
