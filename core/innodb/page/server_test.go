package page_test

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remora-backup/remora/core/innodb/page"
	"github.com/remora-backup/remora/core/mysqld/mysqldtest"
	"github.com/remora-backup/remora/core/needs"
)

const seed = `CREATE TABLE seed (id INT PRIMARY KEY AUTO_INCREMENT, a VARCHAR(100), b TEXT, KEY (a))`

// tables makes one table for each way to lay out pages; suffix keeps names apart.
func tables(suffix string, logical int) []string {
	from := []string{"ROW_FORMAT=REDUNDANT", "ROW_FORMAT=COMPACT", "ROW_FORMAT=DYNAMIC"}
	if logical >= 16384 { // smaller pages have no blocks to save
		from = append(from, "COMPRESSION='zlib'", "COMPRESSION='lz4'")
	}
	if logical <= 16384 {
		for kb := 1; kb <= logical>>10; kb *= 2 {
			from = append(from, fmt.Sprintf("ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=%d", kb))
		}
	}
	var all []string
	for i, format := range from {
		all = append(all,
			fmt.Sprintf("CREATE TABLE t%d%s (id INT PRIMARY KEY, a VARCHAR(20), b VARCHAR(60), KEY (a)) %s", i, suffix, format),
			fmt.Sprintf("INSERT INTO t%d%s SELECT id, LEFT(a, 20), LEFT(b, 60) FROM seed", i, suffix))
	}
	return append(all,
		"CREATE TABLE big"+suffix+" (id INT PRIMARY KEY, l LONGBLOB)",
		"INSERT INTO big"+suffix+" SELECT id, REPEAT(b, 300) FROM seed LIMIT 8",
		"CREATE TABLE geo"+suffix+" (id INT PRIMARY KEY, g GEOMETRY NOT NULL SRID 0, SPATIAL KEY (g))",
		"INSERT INTO geo"+suffix+" SELECT id, ST_GeomFromText(CONCAT('POINT(', RAND() * 9, ' ', RAND() * 9, ')')) FROM seed",
		"DELETE FROM t1"+suffix+" WHERE id % 3 = 0")
}

// TestServer lets a real server write every kind of page there is, and finds
// all of them sound, and almost none of them after a byte was changed.
func TestServer(t *testing.T) {
	needs.Server(t)
	for _, c := range []struct {
		logical    int
		algorithms []string
	}{
		{16384, []string{"crc32", "innodb", "none"}},
		{4096, []string{"innodb"}},
		{65536, []string{"crc32"}},
	} {
		t.Run(fmt.Sprint(c.logical), func(t *testing.T) {
			t.Parallel() // the servers wait for the disk most of the time
			s := mysqldtest.Start(t, mysqldtest.PageSize(fmt.Sprint(c.logical)))
			s.Exec("CREATE DATABASE p", "USE p", seed, "INSERT INTO seed (a, b) VALUES (UUID(), REPEAT(UUID(), 20))")
			for range 10 {
				s.Exec("INSERT INTO p.seed (a, b) SELECT UUID(), REPEAT(SHA2(RAND(), 256), 10) FROM p.seed")
			}
			for _, algorithm := range c.algorithms {
				s.Exec("SET GLOBAL innodb_checksum_algorithm = " + algorithm)
				s.Exec(append([]string{"USE p"}, tables("_"+algorithm, c.logical)...)...)
				// Export writes a table's pages out, with this algorithm.
				s.Exec("FLUSH TABLES "+s.QueryString(`SELECT GROUP_CONCAT('p.', table_name) FROM information_schema.tables
					WHERE table_schema = 'p' AND table_name LIKE ?`, "%"+algorithm)+" FOR EXPORT", "UNLOCK TABLES")
			}
			s.Stop()
			seen := verifyAll(t, s.Dir, c.logical)
			t.Log(seen)
			if seen["ok"] < 500 || seen["changed"] < 500 {
				t.Errorf("saw %v, want hundreds of sound pages and changes noticed", seen)
			}
		})
	}
}

// verifyAll verifies all tablespace files below dir and counts what it finds.
func verifyAll(t *testing.T, dir string, logical int) map[string]int {
	seen := map[string]int{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		name := filepath.Base(path)
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".ibd") && !strings.HasPrefix(name, "undo_") && name != "ibdata1" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		verifyFile(t, path, b, logical, seen)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func verifyFile(t *testing.T, path string, b []byte, logical int, seen map[string]int) {
	size := page.Plain(logical)
	if z := binary.BigEndian.Uint32(b[54:]) >> 1 & 15; z != 0 { // ZIP_SSIZE of the flags
		size = page.Zip(logical, 512<<z)
	}
	v, err := page.NewVerifier(size)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; (n+1)*size.Physical <= len(b); n++ {
		p := b[n*size.Physical : (n+1)*size.Physical]
		if filepath.Base(path) == "ibdata1" && size.InDoublewrite(uint32(n)) {
			continue
		}
		o := v.Verify(p, uint32(n))
		seen[o.String()]++
		if o.Corrupt() {
			h, err := page.ParseHeader(p)
			t.Errorf("%s: %s: page %d: %s: %+v, %v", path, size, n, o, h, err)
		}
		if o == page.OK {
			seen["changed"] += change(t, v, p, uint32(n), path)
		}
	}
}

// change spoils some bytes of the page, one at a time, and returns how often.
func change(t *testing.T, v *page.Verifier, p []byte, number uint32, path string) int {
	h, err := page.ParseHeader(p)
	if err != nil {
		t.Fatal(err)
	}
	if h.Checksum == 0xDEADBEEF {
		return 0 // nothing to notice it by
	}
	done := 0
	for range 3 {
		i := rand.IntN(len(p))
		switch zip := v.Size().Zip; {
		case i >= 26 && i < 38 && !(zip && i >= 34), zip && i >= 16 && i < 24, h.Type == page.TypeCompressed && i >= 38+h.PackedSize:
			continue // Verify says that it does not notice these
		}
		by := byte(1 + rand.IntN(255))
		p[i] ^= by
		typed := i == 24 || i == 25 // the type may have become that of an encrypted page, whose checksum only the key can tell
		if o := v.Verify(p, number); !o.Corrupt() && !(typed && o == page.Unverifiable) {
			t.Errorf("%s: page %d: byte %d changed by %#x: %s, want it corrupt", path, number, i, by, o)
		}
		p[i] ^= by
		done++
	}
	return done
}
