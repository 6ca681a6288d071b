package hooks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"

	lua "github.com/yuin/gopher-lua"
)

func decodeJSON(text []byte, into *any) error {
	if len(text) == 0 {
		*into = map[string]any{}
		return nil
	}
	return json.Unmarshal(text, into)
}

func encodeJSON(value any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(value); err != nil {
		return "", err
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), nil
}

// toLua makes a Lua value of what encoding/json decodes. null is nil, and in an array, which
// would end there, json.null.
func (v *vm) toLua(value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		t := v.NewTable()
		for _, item := range value {
			if item == nil {
				t.Append(v.null)
				continue
			}
			t.Append(v.toLua(item))
		}
		v.arrays[t] = true
		return t
	case map[string]any:
		t := v.NewTable()
		for k, item := range value {
			t.RawSetString(k, v.toLua(item))
		}
		return t
	}
	return lua.LNil
}

// newNull makes json.null. It is a value of its own type, so that nothing else equals it.
func (v *vm) newNull() *lua.LUserData {
	meta := v.NewTable()
	meta.RawSetString("__tostring", v.NewFunction(func(l *lua.LState) int {
		l.Push(lua.LString("null"))
		return 1
	}))
	meta.RawSetString("__metatable", lua.LFalse)
	null := v.NewUserData()
	v.SetMetatable(null, meta)
	return null
}

// toGo makes what encoding/json encodes of a Lua value. A table is an array if its keys
// are 1 to n, an object otherwise; an empty one is an object unless it was made by
// json.array or came from an array.
func toGo(v *vm, value lua.LValue, depth int) (any, error) {
	switch value := value.(type) {
	case lua.LBool:
		return bool(value), nil
	case lua.LString:
		return string(value), nil
	case *lua.LNilType:
		return nil, nil
	case *lua.LUserData:
		if value == v.null {
			return nil, nil
		}
	case lua.LNumber:
		n := float64(value)
		if math.IsNaN(n) || math.IsInf(n, 0) {
			return nil, fmt.Errorf("%v is no JSON number", n)
		}
		if n == math.Trunc(n) && math.Abs(n) < 1<<53 {
			return int64(n), nil
		}
		return n, nil
	case *lua.LTable:
		return tableToGo(v, v.plain(value), depth)
	}
	return nil, fmt.Errorf("a %s has no JSON form", value.Type())
}

func tableToGo(v *vm, t *lua.LTable, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("tables are nested deeper than %d", maxDepth)
	}
	list, object := make([]any, t.Len()), map[string]any{}
	inList := 0
	var failed error
	t.ForEach(func(k, item lua.LValue) {
		value, err := toGo(v, item, depth+1)
		if err != nil && failed == nil {
			failed = err
		}
		if i, ok := k.(lua.LNumber); ok && float64(i) == math.Trunc(float64(i)) && i >= 1 && int(i) <= len(list) {
			list[int(i)-1] = value
			inList++
		}
		object[k.String()] = value
	})
	switch {
	case failed != nil:
		return nil, failed
	case inList == len(object) && (inList > 0 || v.arrays[t]):
		return list, nil
	}
	return object, nil
}

// readOnly returns a table that shows the fields of value and refuses assignments. Lists
// inside it are the script's own copies.
func (v *vm) readOnly(value any) *lua.LTable {
	data, ok := v.toLua(value).(*lua.LTable)
	if !ok {
		data = v.NewTable()
	}
	meta := v.NewTable()
	meta.RawSetString("__index", data)
	meta.RawSetString("__newindex", v.NewFunction(func(l *lua.LState) int {
		l.RaiseError("field %q cannot be set: the table is read only", cut(l.Get(2).String(), 100))
		return 0
	}))
	meta.RawSetString("__metatable", lua.LFalse)
	shown := v.NewTable()
	v.SetMetatable(shown, meta)
	v.frozen[shown] = data
	return shown
}

// plain returns the table behind a read-only one, or t.
func (v *vm) plain(t *lua.LTable) *lua.LTable {
	if data, ok := v.frozen[t]; ok {
		return data
	}
	return t
}

// next is Lua's, and sees into read-only tables.
func (v *vm) next(l *lua.LState) int {
	key, value := v.plain(l.CheckTable(1)).Next(l.Get(2))
	if key == lua.LNil {
		l.Push(lua.LNil)
		return 1
	}
	l.Push(key)
	l.Push(value)
	return 2
}

func (v *vm) pairs(l *lua.LState) int {
	t := l.CheckTable(1)
	l.Push(l.NewFunction(v.next))
	l.Push(t)
	l.Push(lua.LNil)
	return 3
}
