package hooks

import (
	"strings"
	"time"
	_ "time/tzdata" // time.date knows its zones where the system has none

	lua "github.com/yuin/gopher-lua"
)

// modules are the tables a script finds beside Lua's own.
func (v *vm) modules() map[string]map[string]lua.LGFunction {
	return map[string]map[string]lua.LGFunction{
		"log": {
			"debug": v.logger("debug"), "info": v.logger("info"), "warn": v.logger("warn"), "error": v.logger("error"),
		},
		"json":    {"encode": v.jsonEncode, "decode": v.jsonDecode, "array": v.jsonArray},
		"http":    {"get": v.httpGet, "post": v.httpPost},
		"notify":  {"send": v.notifySend},
		"metrics": {"count": v.metricsCount, "gauge": v.metricsGauge},
		"time":    {"date": timeDate},
	}
}

// effect counts one of the kind and reports whether the call may still have it.
func (v *vm) effect(kind string) bool {
	v.effects[kind]++
	return v.effects[kind] <= maxEffects
}

func (v *vm) logger(level string) lua.LGFunction {
	return func(l *lua.LState) int {
		if !v.effect("log") {
			return 0
		}
		var words []string
		for i := 1; i <= l.GetTop(); i++ {
			words = append(words, l.ToStringMeta(l.Get(i)).String())
		}
		v.child.send(message{Log: &logLine{Level: level, Text: cut(strings.Join(words, " "), maxText)}})
		return 0
	}
}

func (v *vm) jsonEncode(l *lua.LState) int {
	plain, err := toGo(v, l.Get(1), 0)
	if err != nil {
		l.RaiseError("json.encode: %v", err)
	}
	text, err := encodeJSON(plain)
	if err != nil {
		l.RaiseError("json.encode: %v", err)
	}
	l.Push(lua.LString(text))
	return 1
}

func (v *vm) jsonDecode(l *lua.LState) int {
	text := l.CheckString(1)
	if len(text) > maxBody {
		l.RaiseError("json.decode: %d bytes, at most %d are taken", len(text), maxBody)
	}
	var value any
	if err := decodeJSON([]byte(text), &value); err != nil {
		l.RaiseError("json.decode: %v", err)
	}
	l.Push(v.toLua(value))
	return 1
}

// jsonArray is json.array([table]): the table, which is an array in JSON even without items.
func (v *vm) jsonArray(l *lua.LState) int {
	t := l.OptTable(1, nil)
	if t == nil {
		t = l.NewTable()
	}
	v.arrays[v.plain(t)] = true
	l.Push(t)
	return 1
}

func (v *vm) notifySend(l *lua.LState) int {
	n := notice{Severity: "info"}
	switch arg := l.Get(1).(type) {
	case lua.LString:
		n.Text = string(arg)
	case *lua.LTable:
		n.Text = lua.LVAsString(arg.RawGetString("text"))
		if s := lua.LVAsString(arg.RawGetString("severity")); s != "" {
			n.Severity = s
		}
	}
	switch {
	case n.Text == "":
		l.ArgError(1, "a text is wanted, or a table with the field text")
	case n.Severity != "info" && n.Severity != "warning" && n.Severity != "error":
		l.ArgError(1, `severity is "info", "warning" or "error"`)
	case !v.effect("notify"):
		return failure(l, "too many notifications in one call")
	}
	n.Text = cut(n.Text, maxText)
	v.child.notices++
	n.ID = v.child.notices
	v.child.send(message{Notify: &n})
	for waiting := true; waiting; {
		select {
		case r := <-v.child.replies:
			waiting = r.ID != n.ID // an answer to a call that did not wait for it
			if !waiting && r.Error != "" {
				return failure(l, r.Error)
			}
		case <-v.ctx.Done():
			return failure(l, "no time left")
		}
	}
	l.Push(lua.LTrue)
	return 1
}

// failure returns nil and why, as Lua functions do that can fail.
func failure(l *lua.LState, why string) int {
	l.Push(lua.LNil)
	l.Push(lua.LString(cut(why, maxText)))
	return 2
}

func (v *vm) metricsCount(l *lua.LState) int {
	return v.metric(l, Sample{Kind: Counter, Name: l.CheckString(1), Value: float64(l.OptNumber(2, 1)), Labels: labels(l, 3)})
}

func (v *vm) metricsGauge(l *lua.LState) int {
	return v.metric(l, Sample{Kind: Gauge, Name: l.CheckString(1), Value: float64(l.CheckNumber(2)), Labels: labels(l, 3)})
}

func (v *vm) metric(l *lua.LState, s Sample) int {
	if err := s.valid(); err != nil {
		l.RaiseError("metrics: %v", err)
	}
	if v.effect("metric") {
		v.child.send(message{Metric: &s})
	}
	return 0
}

func labels(l *lua.LState, arg int) map[string]string {
	t := l.OptTable(arg, nil)
	if t == nil {
		return nil
	}
	out := map[string]string{}
	t.ForEach(func(k, value lua.LValue) { out[k.String()] = value.String() })
	return out
}

// timeDate splits a Unix time, in UTC or in the zone named.
func timeDate(l *lua.LState) int {
	zone, err := time.LoadLocation(l.OptString(2, "UTC"))
	if err != nil {
		l.RaiseError("time.date: %v", err)
	}
	at := time.Unix(int64(l.CheckNumber(1)), 0).In(zone)
	t := l.NewTable()
	for name, n := range map[string]int{
		"year": at.Year(), "month": int(at.Month()), "day": at.Day(), "hour": at.Hour(), "minute": at.Minute(), "second": at.Second(),
	} {
		t.RawSetString(name, lua.LNumber(n))
	}
	t.RawSetString("weekday", lua.LString(strings.ToLower(at.Weekday().String())))
	l.Push(t)
	return 1
}
