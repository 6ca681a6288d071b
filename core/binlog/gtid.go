package binlog

import (
	"bytes"
	"cmp"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// UUID is a server's server_uuid.
type UUID [16]byte

// ParseUUID reads 8-4-4-4-12 hex digits.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, fmt.Errorf("read uuid: %q has not the form 8-4-4-4-12", s)
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != len(u) {
		return u, fmt.Errorf("read uuid: %q is not hex", s)
	}
	return UUID(b), nil
}

func (u UUID) String() string {
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// Source is who numbers transactions: a server and, from MySQL 8.3 on, a tag.
type Source struct {
	UUID UUID
	Tag  string // lower case, at most 32 letters, digits and underscores; empty for none
}

func (s Source) String() string {
	if s.Tag == "" {
		return s.UUID.String()
	}
	return s.UUID.String() + ":" + s.Tag
}

func compareSources(a, b Source) int {
	return cmp.Or(bytes.Compare(a.UUID[:], b.UUID[:]), strings.Compare(a.Tag, b.Tag))
}

// GTID is the identifier of one transaction.
type GTID struct {
	Source
	Number int64 // 1 to MaxNumber
}

func (g GTID) String() string { return g.Source.String() + ":" + strconv.FormatInt(g.Number, 10) }

// MaxNumber is the highest number a transaction can have (GNO_END - 1 in
// rpl_gtid.h).
const MaxNumber = math.MaxInt64 - 1

// Interval is the transactions First to Last, both included.
type Interval struct{ First, Last int64 }

func (i Interval) valid() bool { return i.First >= 1 && i.First <= i.Last && i.Last <= MaxNumber }

func (i Interval) String() string {
	if i.First == i.Last {
		return strconv.FormatInt(i.First, 10)
	}
	return strconv.FormatInt(i.First, 10) + "-" + strconv.FormatInt(i.Last, 10)
}

// GTIDSet is a set of transactions. The zero value is empty and ready to use;
// copies share what is inside.
type GTIDSet struct {
	sets map[Source][]Interval // ascending, with a gap between any two; no empty slices
}

// Add adds one transaction. A number out of range is ignored, as no such
// transaction exists.
func (s *GTIDSet) Add(g GTID) { s.AddInterval(g.Source, Interval{g.Number, g.Number}) }

// AddInterval adds some transactions of one source. An interval that is empty
// or out of range is ignored.
func (s *GTIDSet) AddInterval(from Source, in Interval) {
	if !in.valid() {
		return
	}
	if s.sets == nil {
		s.sets = map[Source][]Interval{}
	}
	have := s.sets[from]
	// have[i:j] touch the new one, and become one with it.
	i := sort.Search(len(have), func(k int) bool { return have[k].Last >= in.First-1 })
	j := i
	for ; j < len(have) && have[j].First <= in.Last+1; j++ {
		in.First, in.Last = min(in.First, have[j].First), max(in.Last, have[j].Last)
	}
	s.sets[from] = slices.Replace(have, i, j, in)
}

// Union adds all transactions of other.
func (s *GTIDSet) Union(other GTIDSet) {
	for from, intervals := range other.sets {
		for _, in := range intervals {
			s.AddInterval(from, in)
		}
	}
}

func (s GTIDSet) contains(from Source, in Interval) bool {
	have := s.sets[from]
	i := sort.Search(len(have), func(k int) bool { return have[k].Last >= in.Last })
	return i < len(have) && have[i].First <= in.First
}

// ContainsSet reports whether all transactions of other are in the set.
func (s GTIDSet) ContainsSet(other GTIDSet) bool {
	for from, intervals := range other.sets {
		for _, in := range intervals {
			if !s.contains(from, in) {
				return false
			}
		}
	}
	return true
}

// Sources returns who numbered the transactions of the set, in MySQL's order.
func (s GTIDSet) Sources() []Source {
	all := make([]Source, 0, len(s.sets))
	for from := range s.sets {
		all = append(all, from)
	}
	slices.SortFunc(all, compareSources)
	return all
}

// String returns the set as MySQL prints it (Gtid_set::to_string in
// rpl_gtid_set.cc), but on one line: uuid:1-5:7:tag:1,uuid:1
func (s GTIDSet) String() string {
	var b strings.Builder
	var last UUID
	for i, from := range s.Sources() {
		switch {
		case i > 0 && from.UUID == last:
			b.WriteString(":" + from.Tag)
		case i > 0:
			b.WriteByte(',')
			fallthrough
		default:
			b.WriteString(from.String())
		}
		last = from.UUID
		for _, in := range s.sets[from] {
			b.WriteString(":" + in.String())
		}
	}
	return b.String()
}

// ParseGTIDSet reads what String and MySQL print. Space around commas and
// colons is ignored, so is an empty part between two commas; sets that overlap
// are united. Errors name the part that is wrong.
func ParseGTIDSet(text string) (GTIDSet, error) {
	var s GTIDSet
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		if err := s.parsePart(part); err != nil {
			return GTIDSet{}, fmt.Errorf("read gtid set: %w", err)
		}
	}
	return s, nil
}

// parsePart reads uuid[:tag]:interval[:interval|:tag]...
func (s *GTIDSet) parsePart(part string) error {
	words := strings.Split(part, ":")
	uuid, err := ParseUUID(strings.TrimSpace(words[0]))
	if err != nil {
		return err
	}
	from, open := Source{UUID: uuid}, true // open: intervals must follow
	for _, w := range words[1:] {
		w = strings.TrimSpace(w)
		if tag := strings.ToLower(w); validTag(tag) {
			if open && from.Tag != "" {
				return fmt.Errorf("%q: nothing after tag %q", part, from.Tag)
			}
			from.Tag, open = tag, true
			continue
		}
		in, ok := parseInterval(w)
		if !ok {
			return fmt.Errorf("%q: %q is neither tag nor interval", part, w)
		}
		s.AddInterval(from, in)
		open = false
	}
	if open {
		return fmt.Errorf("%q: no interval", part)
	}
	return nil
}

func parseInterval(s string) (Interval, bool) {
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		last = first
	}
	a, err1 := strconv.ParseInt(strings.TrimSpace(first), 10, 64)
	b, err2 := strconv.ParseInt(strings.TrimSpace(last), 10, 64)
	in := Interval{a, b}
	return in, err1 == nil && err2 == nil && in.valid()
}

// validTag follows Tag::is_valid in libs/mysql/gtid/tag.h.
func validTag(s string) bool {
	if s == "" || len(s) > 32 || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}
