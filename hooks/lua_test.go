package hooks_test

import (
	"testing"

	"github.com/remora-backup/remora/core/code"
	"github.com/remora-backup/remora/hooks"
)

// What somebody who knows Lua, and not these hooks, writes at the first try.

func TestJSONKeepsArrays(t *testing.T) {
	h, j := with(t, hooks.Config{Config: []byte(`{"none":[]}`)}, `
function on_phase(e)
  local list = json.decode('[1,null,{"a":null,"b":[]},null]')
  log.info(#list, list[2] == json.null, list[2], list[3].a, #list[3].b)
  log.info(json.encode(list))
  log.info(json.encode({hosts = json.array(), tags = json.array({}), plain = {}, some = json.array({"x"})}))
  log.info(json.encode({e.errors or json.array(), e.databases, config.none}))
  list[3].b.named = true
  log.info(json.encode(list[3].b))
end`)
	h.Event(t.Context(), start("1"))
	h.Event(t.Context(), entered(2, "x"))
	same(t, j.lines(), []string{
		"4 true null nil 0",
		`[1,null,{"b":[]},null]`,
		`{"hosts":[],"plain":{},"some":["x"],"tags":[]}`,
		`[[],[],[]]`,
		`{"named":true}`,
	})
}

func TestStringFormat(t *testing.T) {
	h, j := with(t, hooks.Config{}, `
local function try(...)
  local ok, text = pcall(string.format, ...)
  log.info("|" .. text:gsub("^.*s.lua:%d+: ", ""), ok)
end
function on_phase(e)
  try("%5.1f|%-4d|%04d|%+d|%x|%g|%g|%e|100%%", 2.25, 7, 42, 3, 255, 0.1, 1e20, 1234.5)
  try("%s %s %s %q %c", nil, true, json.null, 'a"b\n', 65)
  try("%5s|%-5s|%.2s", "ab", "ab", "abc")
  try("%d", nil)
  try("%d")
  try("%d", "12")
  try("%d", "twelve")
  try("%y", 1)
  try("%")
  try("%123d", 1)
  log.info(("%d of %d"):format(1, 2))
end`)
	h.Event(t.Context(), start("1"))
	h.Event(t.Context(), entered(2, "x"))
	same(t, j.lines(), []string{
		"|  2.2|7   |0042|+3|ff|0.1|1e+20|1.234500e+03|100% true",
		"|nil true null \"a\\\"b\\\n\" A true",
		"|   ab|ab   |ab true",
		"|bad argument #2 to 'format' (number expected, got nil) false",
		"|bad argument #2 to 'format' (number expected, got no value) false",
		"|12 true",
		"|bad argument #2 to 'format' (number expected, got string) false",
		`|invalid option "%y" to 'format' false`,
		`|invalid option "%" to 'format' false`,
		`|invalid format (width or precision of "%123d" is too long) false`,
		"1 of 2",
	})
}

// A file as editors and shells leave it: lines are counted as they are in it.
func TestScriptWithMarkOrInterpreter(t *testing.T) {
	for name, text := range map[string]string{
		"byte order mark": "\uFEFFfunction on_phase(e)\n error('here') end",
		"interpreter":     "#!/usr/bin/lua\nfunction on_phase(e) error('here') end",
	} {
		h, j := with(t, hooks.Config{}, text)
		h.Event(t.Context(), start("1"))
		h.Event(t.Context(), entered(2, "x"))
		t.Log(name)
		mention(t, j, "s.lua:2: here")
	}
}

func TestNilAndAReasonIsAVeto(t *testing.T) {
	script := `function before_phase(e) if e.phase == "locking" then return nil, "outside the window" end end`
	h, _ := with(t, hooks.Config{}, script)
	h.Event(t.Context(), start("1"))
	if err := h.Gate(t.Context(), entered(1, "x")); err != nil {
		t.Errorf("nothing returned: got %v, want the phase to begin", err)
	}
	if err := h.Gate(t.Context(), entered(1, "locking")); code.Of(err) != code.Veto || err.Error()[len(err.Error())-18:] != "outside the window" {
		t.Errorf("got %v, want a veto with its reason", err)
	}
	got, err := effects(t, hooks.Config{Scripts: []string{write(t, "s.lua", script)}})
	if err != nil || len(got) != 1 || got[0] != "before_phase locking: VETO  outside the window (the backup would end here with exit code 23)" {
		t.Errorf("check: got %q, %v; want the veto shown", got, err)
	}
}
