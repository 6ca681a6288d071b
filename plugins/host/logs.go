package host

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

const (
	lineCap   = 8 << 10          // bytes of a line that are kept
	lineBurst = 500              // lines that may come at once
	lineEvery = time.Second / 50 // and one more in this time
	lastLines = 5                // kept for the message about a plugin's end
	lastCap   = 300              // bytes of each
)

// logs passes a plugin's lines on to the log, but not more than a reader can want.
type logs struct {
	logger hclog.Logger

	mu      sync.Mutex
	partial []byte // of Write
	last    []string
	tokens  int
	refill  time.Time
	dropped int // not told yet
	all     int // that were dropped
}

func newLogs(l hclog.Logger) *logs {
	return &logs{logger: l, tokens: lineBurst, refill: time.Now()}
}

// read takes lines until from ends.
func (l *logs) read(from io.Reader) {
	r := bufio.NewReaderSize(from, lineCap)
	for {
		line, err := r.ReadSlice('\n')
		l.line(line)
		for err == bufio.ErrBufferFull { // the rest of a long line
			_, err = r.ReadSlice('\n')
		}
		if err != nil {
			return
		}
	}
}

// Write takes what a plugin printed after the handshake.
func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.partial = append(l.partial, p...)
	var lines []string
	for {
		head, rest, ok := strings.Cut(string(l.partial), "\n")
		if !ok && len(head) < lineCap {
			break
		}
		lines, l.partial = append(lines, head), []byte(rest)
	}
	l.mu.Unlock()
	for _, s := range lines {
		l.line([]byte(s))
	}
	return len(p), nil
}

func (l *logs) line(raw []byte) {
	text := strings.TrimRight(string(raw), "\r\n")
	if text == "" {
		return
	}
	level, message, args := parse(text)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = append(l.last, cut(strings.TrimSpace(message+" "+fmt.Sprintln(args...)), lastCap))
	if len(l.last) > lastLines {
		l.last = l.last[1:]
	}
	if earned := int(time.Since(l.refill) / lineEvery); earned > 0 {
		l.tokens = min(lineBurst, l.tokens+earned)
		l.refill = time.Now()
	}
	if l.tokens == 0 {
		l.dropped++
		l.all++
		return
	}
	l.tokens--
	l.tellDropped()
	l.logger.Log(level, message, args...)
}

func (l *logs) left() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all
}

// flush tells at the end what was left out.
func (l *logs) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tellDropped()
}

func (l *logs) tellDropped() {
	if l.dropped > 0 {
		l.logger.Warn("plugin logs too much, lines left out", "lines", l.dropped)
		l.dropped = 0
	}
}

// lastWords is the end of a message about the plugin's end, or "".
func (l *logs) lastWords() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.last) == 0 {
		return ""
	}
	return "; its last words: " + strings.Join(l.last, " / ")
}

// parse reads a line of hclog's or slog's JSON, or "[WARN] text", or plain text.
func parse(line string) (hclog.Level, string, []any) {
	if strings.HasPrefix(line, "{") {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil {
			return parseJSON(fields)
		}
	}
	if rest, ok := strings.CutPrefix(line, "["); ok {
		if word, text, ok := strings.Cut(rest, "] "); ok {
			if level := hclog.LevelFromString(word); level != hclog.NoLevel {
				return level, printable(text), nil
			}
		}
	}
	return hclog.Info, printable(line), nil
}

func parseJSON(fields map[string]any) (hclog.Level, string, []any) {
	take := func(keys ...string) string {
		for _, k := range keys {
			if v, ok := fields[k].(string); ok {
				delete(fields, k)
				return v
			}
		}
		return ""
	}
	level := hclog.LevelFromString(take("@level", "level"))
	if level == hclog.NoLevel {
		level = hclog.Info
	}
	message := printable(take("@message", "msg"))
	take("@timestamp", "time")
	take("@module")
	var args []any
	for k, v := range fields {
		args = append(args, printable(k), printable(fmt.Sprint(v)))
	}
	return level, message, args
}

// printable takes the power over a terminal out of a line.
func printable(s string) string {
	if q := strconv.Quote(s); q != `"`+s+`"` {
		q = q[1 : len(q)-1]
		return strings.ReplaceAll(strings.ReplaceAll(q, `\"`, `"`), `\\`, `\`)
	}
	return s
}

func cut(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "") + "..."
	}
	return s
}
