// Package durable reads a trace of system calls and says what was promised before it was
// durable. It is for tests: what a crash of the machine would lose is seen in no other way.
//
// The trace is strace's, with -f -y and a file for the output (see Calls). A file's data
// is durable when it was synced after its last write, its name when the directory was
// synced after the name was made. The law:
//
//	a file gets its final name, by rename or link, when its data is durable
//	a promise is made when the names it is about are durable, and those of the
//	directories above
//
// A promise is a write of "promised NAME", or the final name of what stands for all else,
// such as a manifest.
package durable

import (
	"bufio"
	"fmt"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// Calls is the value of strace's -e that a trace needs.
const Calls = "trace=open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir," +
	"write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,ftruncate,fallocate,fsync,fdatasync,syncfs,sync"

// Law is what a trace is held against.
type Law struct {
	Root string // what it is about: an absolute path, and all below it
	// Crown says whether a path stands for all else below Root: it may get its name when
	// everything else there is durable. nil: nothing does.
	Crown func(path string) bool
	// Passing says whether a path is of a file that may be lost, as one under way is. nil: none.
	Passing func(path string) bool
}

// Broken returns where the trace breaks the law, in the order of the calls, and how many
// promises it has. All that is below Root must be durable at its end.
func (l Law) Broken(trace io.Reader) (broken []string, promises int, err error) {
	s := &state{law: l, written: map[string]int{}, named: map[string]int{}, pending: map[string]call{}}
	lines := bufio.NewScanner(trace)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		s.now++
		s.line(lines.Text())
	}
	if err := lines.Err(); err != nil {
		return nil, 0, fmt.Errorf("read the trace: %w", err)
	}
	s.all("the end", "")
	return s.broken, s.promises, nil
}

// state is what is not durable after so many lines.
type state struct {
	law      Law
	now      int            // line
	written  map[string]int // file: line of the end of its last write
	named    map[string]int // path: line of the end of the call that made the name
	pending  map[string]call
	broken   []string
	promises int
}

// call is a system call; begun and ended are lines.
type call struct {
	text         string
	begun, ended int
}

var (
	wholeCall = regexp.MustCompile(`^(\w+)\((.*)\)\s+= (\d+)(?:<(.*?)>)?`)
	resumed   = regexp.MustCompile(`^<\.\.\. \w+ resumed>`)
	descFile  = regexp.MustCompile(`^(?:\d+|AT_FDCWD)<([^>]*)>`)
)

const unfinished = " <unfinished ...>"

// line takes one line of the trace: a call, its beginning, or its end.
func (s *state) line(text string) {
	pid, rest, _ := strings.Cut(text, " ")
	rest = strings.TrimLeft(rest, " ")
	c := call{text: rest, begun: s.now, ended: s.now}
	if head, ok := strings.CutSuffix(rest, unfinished); ok {
		c.text = head
		s.pending[pid] = c
		s.begin(c)
		return
	}
	if mark := resumed.FindString(rest); mark != "" {
		first := s.pending[pid]
		delete(s.pending, pid)
		c.text, c.begun = first.text+rest[len(mark):], first.begun
	} else {
		s.begin(c)
	}
	if m := wholeCall.FindStringSubmatch(c.text); m != nil {
		s.apply(m[1], arguments(m[2]), m[4], c)
	}
}

// begin judges what a call promises by being made.
func (s *state) begin(c call) {
	name, rest, _ := strings.Cut(c.text, "(")
	args := arguments(rest)
	switch from, to := ends(name, args); {
	case to != "" && s.ours(to):
		if at, dirty := s.written[from]; dirty {
			s.wrong("%s gets its name, and its data, written in line %d, is not synced", to, at)
		}
		if s.law.Crown != nil && s.law.Crown(to) {
			s.all(to, from)
		}
	case name == "write" && len(args) > 1:
		if said, ok := strings.CutPrefix(unquote(args[1]), "promised "); ok {
			s.promise(path.Join(s.law.Root, strings.TrimSpace(said)))
		}
	}
}

// promise judges one about a path.
func (s *state) promise(name string) {
	s.promises++
	if at, dirty := s.written[name]; dirty {
		s.wrong("%s is promised, and its data, written in line %d, is not synced", name, at)
	}
	for p := name; p != "/" && p != "."; p = path.Dir(p) {
		if at, dirty := s.named[p]; dirty {
			s.wrong("%s is promised, and the name of %s, made in line %d, is not synced", name, p, at)
		}
	}
}

// all judges a promise about everything.
func (s *state) all(what, but string) {
	s.promises++
	for p, at := range s.named {
		if p != but && s.ours(p) && !s.passing(p) {
			s.wrong("%s, and the name of %s, made in line %d, is not synced", what, p, at)
		}
	}
	for p, at := range s.written {
		if p != but && s.ours(p) && !s.passing(p) {
			s.wrong("%s, and the data of %s, written in line %d, is not synced", what, p, at)
		}
	}
}

// apply notes what a call that succeeded has done.
func (s *state) apply(name string, args []string, result string, c call) {
	arg := func(i int) string {
		if i < len(args) {
			return args[i]
		}
		return ""
	}
	switch name {
	case "open", "openat", "openat2", "creat":
		if flags := strings.Join(args, ","); name == "creat" || strings.Contains(flags, "O_CREAT") {
			s.named[result], s.written[result] = c.ended, c.ended
		} else if strings.Contains(flags, "O_TRUNC") {
			s.written[result] = c.ended
		}
	case "mkdir":
		s.named[at("", arg(0))] = c.ended
	case "mkdirat":
		s.named[at(arg(0), arg(1))] = c.ended
	case "write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "ftruncate", "fallocate":
		s.written[file(arg(0))] = c.ended
	case "copy_file_range":
		s.written[file(arg(2))] = c.ended
	case "fsync", "fdatasync":
		s.synced(file(arg(0)), c.begun)
	case "sync", "syncfs":
		s.written, s.named = map[string]int{}, map[string]int{}
	case "unlink", "rmdir":
		s.gone(at("", arg(0)))
	case "unlinkat":
		s.gone(at(arg(0), arg(1)))
	default:
		if from, to := ends(name, args); to != "" {
			s.moved(from, to, strings.HasPrefix(name, "rename"), c.ended)
		}
	}
}

func (s *state) synced(name string, begun int) {
	if s.written[name] < begun {
		delete(s.written, name)
	}
	for p, made := range s.named {
		if path.Dir(p) == name && made < begun {
			delete(s.named, p)
		}
	}
}

func (s *state) gone(name string) {
	delete(s.named, name)
	delete(s.written, name)
}

// moved gives what is at from the name to, with all that is below it.
func (s *state) moved(from, to string, away bool, ended int) {
	for _, m := range []map[string]int{s.named, s.written} {
		for p, at := range m {
			if below, ok := strings.CutPrefix(p, from); ok && (below == "" || below[0] == '/') && away {
				delete(m, p)
				m[to+below] = at
			}
		}
	}
	s.named[to] = ended
}

// ends returns the old and the new name of a call that gives a name, or nothing.
func ends(name string, args []string) (from, to string) {
	switch {
	case (name == "rename" || name == "link") && len(args) >= 2:
		return at("", args[0]), at("", args[1])
	case (name == "renameat" || name == "renameat2" || name == "linkat") && len(args) >= 4:
		return at(args[0], args[1]), at(args[2], args[3])
	}
	return "", ""
}

func (s *state) ours(p string) bool {
	return p == s.law.Root || strings.HasPrefix(p, s.law.Root+"/")
}

func (s *state) passing(p string) bool { return s.law.Passing != nil && s.law.Passing(p) }

func (s *state) wrong(format string, args ...any) {
	s.broken = append(s.broken, fmt.Sprintf("line %d: %s", s.now, fmt.Sprintf(format, args...)))
}

// file is the path of a descriptor, as in 7</a/b>.
func file(arg string) string {
	if m := descFile.FindStringSubmatch(arg); m != nil {
		return m[1]
	}
	return ""
}

func at(dir, arg string) string {
	name := unquote(arg)
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(file(dir), name)
}

func unquote(arg string) string {
	if i := strings.LastIndexByte(arg, '"'); i > 0 {
		arg = arg[:i+1] // "..." of a text that was cut
	}
	if s, err := strconv.Unquote(arg); err == nil {
		return s
	}
	return strings.Trim(arg, `"`)
}

// arguments splits at commas that are in no text, name or structure.
func arguments(text string) []string {
	var args []string
	depth, quoted, begin := 0, false, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case strings.IndexByte("<{[(", c) >= 0:
			depth++
		case strings.IndexByte(">}])", c) >= 0:
			depth--
		case c == ',' && depth == 0:
			args = append(args, strings.TrimSpace(text[begin:i]))
			begin = i + 1
		}
	}
	return append(args, strings.TrimSpace(text[begin:]))
}
