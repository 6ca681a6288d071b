package hooks

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/remora-backup/remora/core/nearest"
	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/parse"
)

// script is one compiled file.
type script struct {
	name  string
	proto *lua.FunctionProto
}

// compile parses a script; its errors begin with file:line.
func compile(src source) (*script, error) {
	tree, err := parse.Parse(strings.NewReader(src.Text), src.Name)
	var syntax *parse.Error
	if errors.As(err, &syntax) {
		line, near := syntax.Pos.Line, fmt.Sprintf(" near %q", syntax.Token)
		if line <= 0 { // the end of the file has no position
			line, near = strings.Count(strings.TrimRight(src.Text, "\n"), "\n")+1, " at the end of the file"
		}
		return nil, fmt.Errorf("%s:%d: %s%s", src.Name, line, strings.TrimSpace(syntax.Message), near)
	}
	if err != nil {
		return nil, fmt.Errorf("%s:1: %w", src.Name, err)
	}
	proto, err := lua.Compile(tree, src.Name)
	var bad *lua.CompileError
	if errors.As(err, &bad) {
		return nil, fmt.Errorf("%s:%d: %s", src.Name, bad.Line, bad.Message)
	}
	if err != nil {
		return nil, fmt.Errorf("%s:1: %w", src.Name, err)
	}
	return &script{name: src.Name, proto: proto}, nil
}

// vm is one fresh state for one call.
type vm struct {
	*lua.LState
	ctx     context.Context
	child   *child
	script  *script
	loading bool                        // the script's own lines run, not yet a function of it
	frozen  map[*lua.LTable]*lua.LTable // read-only table -> what it shows
	arrays  map[*lua.LTable]bool        // tables that are JSON arrays also when they are empty
	null    *lua.LUserData              // null in a JSON array, where nil would end it
	effects map[string]int
}

// open runs the script's own lines in a fresh state. The caller closes it.
func (c *child) open(ctx context.Context, s *script) (*vm, error) {
	v := &vm{ctx: ctx, child: c, script: s, frozen: map[*lua.LTable]*lua.LTable{}, arrays: map[*lua.LTable]bool{}, effects: map[string]int{}}
	v.LState = lua.NewState(lua.Options{
		SkipOpenLibs: true, CallStackSize: 256,
		RegistrySize: 4 << 10, RegistryMaxSize: 1 << 20, RegistryGrowStep: 4 << 10,
	})
	v.libraries()
	v.SetContext(ctx)
	v.loading = true
	err := v.CallByParam(lua.P{Fn: v.NewFunctionFromProto(s.proto), Protect: true})
	v.loading = false
	if err != nil {
		defer v.Close()
		return nil, v.explain(err)
	}
	return v, nil
}

// defined returns which event functions the script has.
func (c *child) defined(ctx context.Context, s *script) ([]string, error) {
	v, err := c.open(ctx, s)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	var have []string
	for _, name := range functions {
		if v.GetGlobal(name).Type() == lua.LTFunction {
			have = append(have, name)
		}
	}
	if len(have) == 0 {
		return nil, fmt.Errorf("%s:1: defines none of %s", s.name, strings.Join(functions, ", "))
	}
	return have, nil
}

// run calls one function of the script.
func (c *child) run(ctx context.Context, s *script, function string, event any) *outcome {
	v, err := c.open(ctx, s)
	if err != nil {
		return &outcome{Error: err.Error(), Timeout: ctx.Err() != nil}
	}
	defer v.Close()
	fn, ok := v.GetGlobal(function).(*lua.LFunction)
	if !ok {
		return &outcome{}
	}
	if err := v.CallByParam(lua.P{Fn: fn, NRet: 2, Protect: true}, v.readOnly(event)); err != nil {
		return &outcome{Error: v.explain(err).Error(), Timeout: ctx.Err() != nil}
	}
	if function != beforePhase {
		return &outcome{}
	}
	return answer(s, fn, v.Get(-2), v.Get(-1))
}

// answer reads what before_phase returned: nothing or true, or false and a reason. nil and
// a reason is how Lua's own functions say no.
func answer(s *script, fn *lua.LFunction, verdict, reason lua.LValue) *outcome {
	wrong := func(format string, args ...any) *outcome {
		line := 0
		if fn.Proto != nil {
			line = fn.Proto.LineDefined
		}
		return &outcome{Error: fmt.Sprintf("%s:%d: before_phase returned ", s.name, line) + fmt.Sprintf(format, args...)}
	}
	said, ok := verdict.(lua.LString)
	switch {
	case verdict == lua.LTrue, verdict == lua.LNil && reason == lua.LNil:
		return &outcome{}
	case verdict == lua.LFalse, verdict == lua.LNil:
	case ok && reason == lua.LNil:
		return wrong("a reason without false before it: write return false, %q", cut(string(said), 100))
	default:
		return wrong("a %s, want nothing, true, or false and a reason", verdict.Type())
	}
	switch r := reason.(type) {
	case lua.LString:
		return &outcome{Veto: true, Reason: cut(string(r), maxText)}
	case *lua.LNilType:
		return &outcome{Veto: true, Reason: "no reason given"}
	}
	return wrong("a %s as reason, want a string", reason.Type())
}

// explain turns an error of the interpreter into one line that begins with file:line.
func (v *vm) explain(err error) error {
	var api *lua.ApiError
	if !errors.As(err, &api) {
		return fmt.Errorf("%s: %w", v.script.name, err)
	}
	text := api.Object.String()
	if api.Object.Type() == lua.LTTable {
		text = "error object is a table"
		if plain, err := toGo(v, api.Object, 0); err == nil {
			if encoded, err := encodeJSON(plain); err == nil {
				text = encoded
			}
		}
	}
	at := regexp.MustCompile(regexp.QuoteMeta(v.script.name) + `:\d+`)
	place := at.FindString(text)
	if place == "" {
		place = at.FindString(api.StackTrace)
	}
	if v.ctx.Err() != nil {
		text = "took too long and was stopped"
	}
	if place == "" {
		place = v.script.name
	}
	if !strings.HasPrefix(text, place+":") {
		text = place + ": " + text
	}
	return errors.New(cut(text, maxText))
}

// absent are the base functions that reach outside or change how the script runs.
var absent = []string{
	"collectgarbage", "dofile", "getfenv", "load", "loadfile", "loadstring", "module", "newproxy", "_printregs", "require", "setfenv",
}

// libraries opens what a script may use and nothing else.
func (v *vm) libraries() {
	for _, open := range []lua.LGFunction{lua.OpenBase, lua.OpenTable, lua.OpenString, lua.OpenMath} {
		v.Push(v.NewFunction(open))
		v.Call(0, 0)
	}
	for _, name := range absent {
		v.SetGlobal(name, lua.LNil)
	}
	text := v.GetGlobal("string").(*lua.LTable)
	text.RawSetString("dump", lua.LNil)
	text.RawSetString("gfind", lua.LNil)
	text.RawSetString("rep", v.NewFunction(repeat))
	text.RawSetString("format", v.NewFunction(format))
	v.SetGlobal("next", v.NewFunction(v.next))
	v.SetGlobal("pairs", v.NewFunction(v.pairs))
	v.SetGlobal("print", v.NewFunction(v.logger("info")))
	for name, functions := range v.modules() {
		v.SetGlobal(name, v.SetFuncs(v.NewTable(), functions))
	}
	v.null = v.newNull()
	v.GetGlobal("json").(*lua.LTable).RawSetString("null", v.null)
	v.SetGlobal("config", v.readOnly(v.child.config))
	strict := v.NewTable()
	strict.RawSetString("__newindex", v.NewFunction(v.newGlobal))
	strict.RawSetString("__metatable", lua.LFalse)
	v.SetMetatable(v.G.Global, strict)
}

// newGlobal lets a script define the event functions and nothing else: anything else is
// a typo or a local that lacks its word.
func (v *vm) newGlobal(l *lua.LState) int {
	name, value := l.Get(2).String(), l.Get(3)
	if v.loading && value.Type() == lua.LTFunction && slices.Contains(functions, name) {
		l.G.Global.RawSetString(name, value)
		return 0
	}
	hint := "write local before it"
	if meant := nearest.Word(name, functions); meant != "" && meant != name {
		hint = "is " + meant + " meant?"
	}
	l.RaiseError("unknown global %q: %s", cut(name, 100), hint)
	return 0
}

func repeat(l *lua.LState) int {
	s, n := l.CheckString(1), l.CheckInt(2)
	if n > 0 && len(s) > maxRepeat/n {
		l.RaiseError("string.rep of more than %d bytes", maxRepeat)
	}
	l.Push(lua.LString(strings.Repeat(s, max(n, 0))))
	return 1
}

// left is the time until the call's deadline.
func (v *vm) left() time.Duration {
	deadline, _ := v.ctx.Deadline()
	return time.Until(deadline)
}
