package hooks_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/core/plug"
	"github.com/remora-backup/remora/core/run"
	"github.com/remora-backup/remora/hooks"
)

func TestEndlessLoopsC21(t *testing.T) {
	for name, body := range map[string]string{
		"loop":      `while true do end`,
		"pcall":     `while true do pcall(function() while true do end end) end`,
		"recursion": `local function f() pcall(f) while true do end end f()`,
		"top level": `local loop = e.phase == "x" while loop or true do end`,
	} {
		t.Run(name, func(t *testing.T) {
			h, j := with(t, hooks.Config{Timeout: 500 * time.Millisecond}, "function on_phase(e)\n"+body+"\nend")
			h.Event(t.Context(), start("1"))
			h.Event(t.Context(), entered(2, "x"))
			mention(t, j, "hook failed", "s.lua:2: ", "took too long")
		})
	}
}

// A pattern cannot be interrupted from inside: its process is killed, and the next call
// finds a new one.
func TestPathologicalPatternC22(t *testing.T) {
	h, j := with(t, hooks.Config{Timeout: 500 * time.Millisecond}, `
function on_phase(e)
  if e.phase == "bad" then string.find(string.rep("a", 35), string.rep("a?", 35) .. string.rep(".-", 10) .. "b") end
  log.info("alive in " .. e.phase)
end`)
	h.Event(t.Context(), start("1"))
	h.Event(t.Context(), entered(2, "bad"))
	mention(t, j, "hook failed", "s.lua", "its process was killed")
	h.Event(t.Context(), entered(3, "good"))
	mention(t, j, "alive in good")
}

// After three killed calls the script is left out, once said, and gates of it refuse.
func TestScriptIsLeftOutC22(t *testing.T) {
	h, j := with(t, hooks.Config{Timeout: 300 * time.Millisecond}, `
function on_phase(e) while true do end end
function before_phase(e) end`)
	h.Event(t.Context(), start("1"))
	for seq := range int64(5) {
		h.Event(t.Context(), entered(seq+2, "x"))
	}
	var failed, left int
	for _, line := range j.lines() {
		if strings.HasPrefix(line, "hook failed") {
			failed++
		}
		if strings.Contains(line, "left out for the rest") {
			left++
		}
	}
	if failed != 3 || left != 1 {
		t.Errorf("%d calls failed and leaving out was said %d times, want 3 and 1", failed, left)
	}
	if err := h.Gate(t.Context(), entered(6, "y")); code.Of(err) != code.Veto {
		t.Errorf("gate of a script that is left out says %v, want a veto", err)
	}
	h.Event(t.Context(), start("1")) // the next run asks it again
	if err := h.Gate(t.Context(), entered(1, "y")); err != nil {
		t.Errorf("gate in the next run says %v, want nil", err)
	}
}

func resident(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var size, pages int
	if _, err := fmt.Sscan(string(text), &size, &pages); err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

func TestMemoryBombC23(t *testing.T) {
	for name, body := range map[string]string{
		"string": `local s = string.rep("x", 1024) while true do s = s .. s end`,
		"table":  `local t = {} for i = 1, 1e12 do t[i] = "item" .. i end`,
	} {
		t.Run(name, func(t *testing.T) {
			h, j := with(t, hooks.Config{Timeout: time.Minute, Memory: 64 << 20}, "function on_phase(e)\n if e.phase == 'bad' then "+body+" end log.info('alive') end")
			before := resident(t)
			h.Event(t.Context(), start("1"))
			h.Event(t.Context(), entered(2, "bad"))
			mention(t, j, "hook failed", "took too much memory")
			if grown := resident(t) - before; grown > 32<<20 {
				t.Errorf("the host grew by %d bytes", grown)
			}
			h.Event(t.Context(), entered(3, "good"))
			mention(t, j, "alive")
		})
	}
}

func TestScriptErrorsC24(t *testing.T) {
	tests := []struct{ name, body, want string }{
		{"error", `error("boom")`, "s.lua:2: boom"},
		{"error without place", `error("boom", 0)`, "s.lua:2: boom"},
		{"error table", `error({code = 7})`, `s.lua:2: {"code":7}`},
		{"nil index", `local x = e.nothing.here`, "s.lua:2: attempt to index"},
		{"wrong argument", `string.rep()`, "s.lua:2: bad argument"},
		{"typo of a global", `ocunt = 1`, `s.lua:2: unknown global "ocunt"`},
		{"event is read only", `e.id = "../x"`, `s.lua:2: field "id" cannot be set`},
		{"config is read only", `config.a = 1`, `s.lua:2: field "a" cannot be set`},
		{"rep is bounded", `string.rep("xx", 1e6)`, "s.lua:2: string.rep of more than"},
		{"method rep is bounded", `("xx"):rep(1e9)`, "s.lua:2: string.rep of more than"},
		{"cyclic table", `local t = {} t.t = t json.encode(t)`, "s.lua:2: json.encode: tables are nested deeper"},
		{"deep recursion", `local function f() return 1 + f() end f()`, "s.lua:2: stack overflow"},
		{"protected globals", `setmetatable(_G, nil)`, "s.lua:2: cannot change a protected metatable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, j := with(t, hooks.Config{}, "function on_phase(e)\n"+tt.body+"\nend")
			h.Event(t.Context(), start("1"))
			h.Event(t.Context(), entered(2, "x"))
			mention(t, j, "hook failed", tt.want)
		})
	}
}

func TestLostEventsAreSaid(t *testing.T) {
	const lost = "the last events were not told"
	end := run.Event{Seq: 3, Kind: run.KindEnd, Operation: "backup", ID: "1", State: run.Complete}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	for name, c := range map[string]struct {
		ctx  context.Context
		want bool
	}{"in time": {t.Context(), false}, "too late": {stopped, true}} {
		h, j := with(t, hooks.Config{}, "function on_end(e) end")
		h.Event(t.Context(), start("1"))
		h.Event(c.ctx, end)
		h.Close(t.Context())
		if got := strings.Contains(strings.Join(j.lines(), "\n"), lost); got != c.want {
			t.Errorf("%s: said that events were lost: got %v, want %v", name, got, c.want)
		}
	}
}

func TestWrongReturnC24(t *testing.T) {
	for body, want := range map[string]string{
		`return 0`:           "s.lua:1: before_phase returned a number",
		`return "no"`:        `s.lua:1: before_phase returned a reason without false before it: write return false, "no"`,
		`return nil, 5`:      "s.lua:1: before_phase returned a number as reason",
		`return false, {}`:   "s.lua:1: before_phase returned a table as reason",
		`return {}, "a"`:     "s.lua:1: before_phase returned a table",
		`error("no answer")`: "s.lua:1: no answer",
	} {
		h, _ := with(t, hooks.Config{}, "function before_phase(e) "+body+" end")
		h.Event(t.Context(), start("1"))
		if err := h.Gate(t.Context(), entered(1, "x")); code.Of(err) != code.Veto || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want a veto with %q", body, err, want)
		}
		h, j := with(t, hooks.Config{IgnoreErrors: true}, "function before_phase(e) "+body+" end")
		h.Event(t.Context(), start("1"))
		if err := h.Gate(t.Context(), entered(1, "x")); err != nil {
			t.Errorf("%s: got %v where errors are ignored", body, err)
		}
		mention(t, j, "hook failed", want)
	}
}

func TestBadScriptsAreRefusedC24(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"syntax", "function on_phase(e)\n if then\nend", `s.lua:2: syntax error near "then"`},
		{"end missing", "function on_phase(e)\n\n", "s.lua:1: syntax error at the end of the file"},
		{"not Lua", "\x1bLua\x00binary", "s.lua:1: "},
		{"top level error", "\nerror('no')", "s.lua:2: no"},
		{"typo in a name", "function on_phsae(e) end", `s.lua:1: unknown global "on_phsae": is on_phase meant?`},
		{"helper without local", "function helper() end", `s.lua:1: unknown global "helper": write local before it`},
		{"nothing defined", "local x = 1", "s.lua:1: defines none of on_phase, "},
		{"top level loop", "while true do end", "s.lua:1: took too long"},
		{"require", "local x = require('socket')", "s.lua:1: attempt to call a non-function"},
		{"long", strings.Repeat("-", 2<<20), "more than 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, err := hooks.Open(t.Context(), hooks.Config{Scripts: []string{write(t, "s.lua", tt.text)}, Self: self(t), Timeout: time.Second})
			if err == nil {
				h.Close(t.Context())
			}
			if code.Of(err) != code.Usage || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v (code %d), want code 10 and %q", err, code.Of(err), tt.want)
			}
		})
	}
	_, err := hooks.Open(t.Context(), hooks.Config{Scripts: []string{"/nonexistent.lua"}, Self: self(t)})
	if code.Of(err) != code.Usage || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing script: got %v, want code 10", err)
	}
}

// The list is exact: whatever a library adds one day has to be looked at first.
func TestGlobalsC25(t *testing.T) {
	h, j := with(t, hooks.Config{}, `
local function list(t, skip)
  local names = {}
  for k in pairs(t) do if not (skip and skip[k]) then names[#names + 1] = k end end
  table.sort(names)
  return table.concat(names, " ")
end
function on_phase(e)
  log.info("_G: " .. list(_G))
  for _, name in ipairs({"string", "table", "math", "log", "json", "http", "notify", "metrics", "time"}) do
    log.info(name .. ": " .. list(_G[name]))
  end
end`)
	h.Event(t.Context(), start("1"))
	h.Event(t.Context(), entered(2, "x"))
	same(t, j.lines(), []string{
		"_G: _G _GOPHER_LUA_VERSION _VERSION assert config error getmetatable http ipairs json log math metrics next notify on_phase pairs pcall print rawequal rawget rawset select setmetatable string table time tonumber tostring type unpack xpcall",
		"string: __index byte char find format gmatch gsub len lower match rep reverse sub upper",
		"table: concat getn insert maxn remove sort",
		"math: abs acos asin atan atan2 ceil cos cosh deg exp floor fmod frexp huge ldexp log log10 max min mod modf pi pow rad random randomseed sin sinh sqrt tan tanh",
		"log: debug error info warn",
		"json: array decode encode null",
		"http: get post",
		"notify: send",
		"metrics: count gauge",
		"time: date",
	})
}

// What a script hands out is taken as hostile.
func TestHostileValuesC26(t *testing.T) {
	var got []plug.Notice
	h, j := with(t, hooks.Config{Notify: func(_ context.Context, n plug.Notice) error { got = append(got, n); return nil }}, `
function before_phase(e) return false, string.rep("r", 1e6) .. "\27[31m" end
function on_phase(e)
  log.info("\27[31mred\0")
  assert(notify.send(string.rep("t", 1e6)))
  assert(not pcall(metrics.count, "../x"))
  assert(not pcall(metrics.count, "x", -1))
  assert(not pcall(metrics.gauge, "x", 0/0))
  assert(not pcall(metrics.gauge, "x", 1, {["../x"] = "a"}))
  assert(not pcall(notify.send, {text = "a", severity = "../x"}))
  assert(http.get("file:///etc/passwd") == nil)
  assert(http.get("../x") == nil)
  for i = 1, 1000 do log.debug(i) end
end`)
	h.Event(t.Context(), start("1"))
	h.Event(t.Context(), entered(2, "x"))
	err := h.Gate(t.Context(), entered(2, "y"))
	if code.Of(err) != code.Veto || len(err.Error()) > 9000 || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("reason of %d bytes came through", len(err.Error()))
	}
	if len(got) != 1 || len(got[0].Text) > 9000 {
		t.Errorf("got %d notices, want one that is cut", len(got))
	}
	lines := j.lines()
	if lines[0] != "\uFFFD[31mred\uFFFD" || len(lines) > 600 {
		t.Errorf("%d lines, the first %q; want them bounded and made harmless", len(lines), lines[0])
	}
	if slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "hook failed") }) {
		t.Errorf("the script failed: %s", lines[len(lines)-1])
	}
}
